import type { IpAddress } from "../../../contract/ip-address.ts";
import type { NameTable } from "../dns/name-table.ts";
import type { DnsService } from "../dns/service.ts";
import { serveDnsStream } from "../dns/stream-service.ts";
import type { FlowAddress } from "../flow.ts";
import type { NetworkPolicy } from "../policy/policy.ts";
import type { AuditRecord } from "./audit.ts";
import { type Dial, dialDirect } from "./dial.ts";
import { openDirect } from "./direct-datagrams.ts";
import { type Landmarks, questionOf } from "./flow-question.ts";
import type { GuestDatagrams, GuestRequest } from "./guest-side.ts";
import type { OpenDatagrams } from "./remote-datagrams.ts";
import { TcpFlow } from "./tcp-flow.ts";
import type { TokenBucket } from "./token-bucket.ts";
import { UdpFlow } from "./udp-flow.ts";

/**
 * What becomes of connections that one sandbox opens: each is decided, dialled and relayed here. Port 53 of whatever address is
 * answered by our own DNS, so that no other resolver is spoken to in the clear. Bounds: so many flows at a time; one more is
 * refused, not queued.
 */

export interface OutwardOptions {
  policy: NetworkPolicy;
  table: NameTable;
  dns: DnsService;
  landmarks: Landmarks;
  /** Sends the ICMP error that belongs to the request. The caller drops the request after it. */
  unreachable(flow: FlowAddress, code: "host" | "network" | "prohibited"): void;
  /** To the world: directly, or through the user's proxy. */
  dial: Dial;
  openDatagrams: OpenDatagrams;
  /** To the host's own loopback. */
  dialLocal: Dial;
  /** While it is not known what the address leads to: what asks for it waits so long. Never rejects. Default: all is known. */
  unsurveyed?(address: IpAddress): Promise<void> | undefined;
  connectTimeoutMs: number;
  /** How long a guest may take to say whom it wants to talk to, where that counts, ms. Default: 10,000. */
  nameTimeoutMs?: number;
  /** TCP connections and UDP flows at a time. */
  connections: number;
  egress?: TokenBucket | undefined;
  ingress?: TokenBucket | undefined;
  audit?(record: AuditRecord): void;
  /** Hears of a flow that begins; the number that it gives is in the flow's record. */
  began?(flow: FlowAddress, protocol: "tcp" | "udp"): number | undefined;
}

/** Linux repeats a SYN for 127 s at most; most programs give up before. */
export const DEFAULT_CONNECT_TIMEOUT_MS = 75_000;
const DNS_PORT = 53;

export class Outward {
  readonly #options: OutwardOptions;
  readonly #flows = new Set<TcpFlow | UdpFlow>();
  readonly #closed = new AbortController();
  #policy: NetworkPolicy;
  #connections: number;
  #dnsStreams = 0;
  #held = 0;

  constructor(
    options: Omit<OutwardOptions, "dial" | "openDatagrams" | "dialLocal" | "connectTimeoutMs"> &
      Partial<OutwardOptions>,
  ) {
    this.#options = {
      dial: dialDirect,
      openDatagrams: openDirect,
      dialLocal: dialDirect,
      connectTimeoutMs: DEFAULT_CONNECT_TIMEOUT_MS,
      ...options,
    };
    this.#policy = options.policy;
    this.#connections = options.connections;
  }

  get policy(): NetworkPolicy {
    return this.#policy;
  }

  /** Flows that are open. */
  get size(): number {
    return this.#flows.size + this.#dnsStreams + this.#held;
  }

  tcp(request: GuestRequest): void {
    if (this.#closed.signal.aborted || this.size >= this.#connections || this.#isRefused(request)) {
      request.reset();
      return;
    }
    if (request.destinationPort === DNS_PORT) {
      this.#dnsStreams += 1;
      void serveDnsStream(request.accept(), this.#options.dns, this.#closed.signal).finally(() => {
        this.#dnsStreams -= 1;
      });
      return;
    }
    if (this.#hold(request.destination, () => this.tcp(request))) return;
    const { landmarks, table } = this.#options;
    const question = questionOf(request, "tcp", landmarks, table);
    this.#keep(new TcpFlow(request, question, this.#options, () => this.#policy));
  }

  udp(flow: GuestDatagrams): void {
    const full = this.#closed.signal.aborted || this.size >= this.#connections;
    if (full || this.#isRefused(flow)) {
      flow.unreachable(full ? "prohibited" : "port");
      flow.close();
      return;
    }
    if (flow.destinationPort === DNS_PORT) {
      void this.#answer(flow);
      return;
    }
    if (this.#hold(flow.destination, () => this.udp(flow))) return;
    const { landmarks, table } = this.#options;
    this.#keep(new UdpFlow(flow, questionOf(flow, "udp", landmarks, table), this.#options, this.#policy));
  }

  /** So many at a time from now on; what is open stays. */
  limitConnections(connections: number): void {
    this.#connections = connections;
  }

  /** From now on these rules hold. What is open and would not be let through any more is closed. */
  update(policy: NetworkPolicy): void {
    this.#policy = policy;
    for (const flow of [...this.#flows]) flow.recheck(policy);
  }

  /** Closes all that is open. */
  close(): void {
    this.#closed.abort();
    for (const flow of [...this.#flows]) flow.close();
  }

  /** The gateway answers DNS and nothing else. */
  #isRefused({ destination, destinationPort }: FlowAddress): boolean {
    if (destinationPort === DNS_PORT) return false;
    return this.#options.landmarks.gateway.some((each) => each.equals(destination));
  }

  /** True if it is too early to decide; `again` is called when it no longer is. */
  #hold(address: IpAddress, again: () => void): boolean {
    const surveyed = this.#options.unsurveyed?.(address);
    if (surveyed === undefined) return false;
    this.#held += 1;
    void surveyed.then(() => {
      this.#held -= 1;
      again();
    });
    return true;
  }

  #keep(flow: TcpFlow | UdpFlow): void {
    this.#flows.add(flow);
    void flow.run().finally(() => this.#flows.delete(flow));
  }

  async #answer(flow: GuestDatagrams): Promise<void> {
    const { signal } = this.#closed;
    this.#dnsStreams += 1;
    try {
      for await (const query of flow) {
        if (signal.aborted) break;
        // Each by itself: a slow one holds up no other. The service bounds how many there are.
        void this.#options.dns.answer(query, "udp", signal).then((answer) => answer && flow.reply(answer));
      }
    } catch {
      // The guest's side broke: nobody waits for answers.
    } finally {
      this.#dnsStreams -= 1;
      flow.close();
    }
  }
}
