import type { PublishedPort } from "../../../contract/network.ts";
import type { FlowAddress } from "../flow.ts";
import type { GuestLink } from "../guest-link.ts";
import type { AuditRecord } from "../outward/audit.ts";
import type { GuestDatagrams, GuestStream } from "../outward/guest-side.ts";
import type { TokenBucket } from "../outward/token-bucket.ts";
import type { NetworkPolicy } from "../policy/policy.ts";
import { PublishedTcp } from "./published-tcp.ts";
import { PublishedUdp } from "./published-udp.ts";

/** What published ports lead to, and what decides about their clients. */
export interface Inward {
  link: GuestLink;
  gateway: {
    tcp: { connect(flow: FlowAddress, signal?: AbortSignal): Promise<GuestStream> };
    /** Undefined if there is a flow with these addresses and ports. */
    openUdp(flow: FlowAddress): GuestDatagrams | undefined;
  };
  policy(): NetworkPolicy;
  /** Hears of each client that is let in, before the guest does. */
  visited?(): void;
  egress?: TokenBucket | undefined;
  ingress?: TokenBucket | undefined;
  audit?(record: AuditRecord): void;
}

/** The ports of the host that lead into one sandbox. */
export class PublishedPorts implements Disposable {
  readonly #open: (PublishedTcp | PublishedUdp)[] = [];

  /**
   * Listens on all of them, or on none.
   * @param options.lost hears of a port that cannot be had, in place of an error, and the others go on
   */
  static async listen(
    ports: readonly PublishedPort[],
    inward: Inward,
    options: { lost?: ((port: PublishedPort, error: Error) => void) | undefined } = {},
  ): Promise<PublishedPorts> {
    const published = new PublishedPorts();
    for (const port of ports) {
      try {
        const kind = port.protocol === "tcp" ? PublishedTcp : PublishedUdp;
        published.#open.push(await kind.listen(port, inward));
      } catch (error) {
        if (options.lost !== undefined) {
          options.lost(port, error as Error);
          continue;
        }
        published[Symbol.dispose]();
        throw error;
      }
    }
    return published;
  }

  /** With the numbers that the host gave. */
  get ports(): PublishedPort[] {
    return this.#open.map(({ port }) => port);
  }

  /** Clients that are served. */
  get size(): number {
    return this.#open.reduce((sum, { size }) => sum + size, 0);
  }

  /** Ends what these rules do not let in. */
  recheck(policy: NetworkPolicy): void {
    for (const port of this.#open) port.recheck(policy);
  }

  [Symbol.dispose](): void {
    for (const port of this.#open) port.close();
  }
}
