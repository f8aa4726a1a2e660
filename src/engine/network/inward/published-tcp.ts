import { randomInt } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { IpAddress } from "../../../contract/ip-address.ts";
import type { PublishedPort } from "../../../contract/network.ts";
import type { FlowAddress } from "../flow.ts";
import { Audit } from "../outward/audit.ts";
import type { GuestStream } from "../outward/guest-side.ts";
import { pump } from "../outward/pump.ts";
import type { NetworkPolicy, Question, Verdict } from "../policy/policy.ts";
import { clientOf, peerOf } from "./client-address.ts";
import type { Inward } from "./inward.ts";
import { portError } from "./port-error.ts";

/**
 * A TCP port of the host that leads into the sandbox. The host's kernel has accepted a client before we hear of it, so one that is
 * denied, or that the guest refuses, sees a reset. Bounds: the connections of the sandbox's TCP layer; one more is reset.
 */

const CONNECT_TIMEOUT_MS = 15_000;
const KEEP_ALIVE_MS = 120_000;
const BACKLOG = 511;
/** Two clients of the host may have the same port on different addresses, which are one address to the guest. */
const ATTEMPTS = 4;

interface Open {
  question: Question;
  socket: Socket;
  guest: GuestStream | undefined;
  audit: Audit;
  verdict: Verdict;
}

export class PublishedTcp {
  /** With the number that the host gave where any was asked for. */
  readonly port: PublishedPort;
  readonly #inward: Inward;
  readonly #server: Server;
  readonly #open = new Set<Open>();
  readonly #closed = new AbortController();

  private constructor(port: PublishedPort, inward: Inward, server: Server) {
    this.port = { ...port, host: (server.address() as AddressInfo).port };
    this.#inward = inward;
    this.#server = server;
    server.on("connection", (socket) => void this.#take(socket));
    // A failed accept (no descriptors left) is that client's loss.
    server.on("error", () => {});
  }

  /** Throws what `portError` makes of the failure. */
  static async listen(port: PublishedPort, inward: Inward): Promise<PublishedTcp> {
    const options = {
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    };
    const server = createServer(options);
    server.listen({ host: port.bind, port: port.host, ipv6Only: true, backlog: BACKLOG });
    try {
      await once(server, "listening");
    } catch (error) {
      throw portError(port, error as Error);
    }
    return new PublishedTcp(port, inward, server);
  }

  get size(): number {
    return this.#open.size;
  }

  recheck(policy: NetworkPolicy): void {
    for (const open of this.#open) {
      const verdict = policy.decide(open.question);
      if (!verdict.allowed) end(open, verdict);
    }
  }

  close(): void {
    this.#server.close();
    this.#closed.abort();
    for (const open of this.#open)
      end(open, { ...open.verdict, allowed: false, reason: "the network was closed" });
  }

  async #take(socket: Socket): Promise<void> {
    socket.on("error", () => {});
    const { link, policy, audit: give } = this.#inward;
    const address = peerOf(socket.remoteAddress) ?? clientOf(socket.remoteAddress, link);
    const { guest: port } = this.port;
    const question: Question = { direction: "ingress", protocol: "tcp", address, port, names: [] };
    const audit = new Audit({ direction: "ingress", protocol: "tcp", address, port, names: [] }, give);
    const verdict = policy().decide(question);
    const open: Open = { question, socket, guest: undefined, audit, verdict };
    if (!verdict.allowed || this.#closed.signal.aborted) {
      end(open, verdict);
      return;
    }
    this.#open.add(open);
    this.#inward.visited?.();
    try {
      open.guest = await this.#connect(clientOf(socket.remoteAddress, link), socket);
      if (socket.destroyed) open.guest.reset();
      else await this.#relay(open, open.guest);
      audit.end(verdict);
    } catch (error) {
      audit.end({ ...verdict, reason: `${verdict.reason}, but: ${(error as Error).message}` });
      socket.resetAndDestroy();
    } finally {
      this.#open.delete(open);
    }
  }

  async #connect(client: IpAddress, socket: Socket): Promise<GuestStream> {
    const guest = this.#inward.link.guest.addresses.find((end) => end.address.version === client.version)!;
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]);
    const flow: FlowAddress = {
      source: client,
      sourcePort: socket.remotePort ?? freePort(),
      destination: guest.address,
      destinationPort: this.port.guest,
    };
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#inward.gateway.tcp.connect(flow, signal);
      } catch (error) {
        if ((error as { code?: string }).code !== "EADDRINUSE" || attempt === ATTEMPTS) throw error;
        flow.sourcePort = freePort();
      }
    }
  }

  async #relay({ socket, audit }: Open, guest: GuestStream): Promise<void> {
    const { egress, ingress } = this.#inward;
    const { signal } = this.#closed;
    guest.on("error", () => {});
    const out = pump(guest, socket, (chunk) => {
      audit.bytesOut += chunk.length;
      return egress?.take(chunk.length, signal)?.then(() => [chunk]) ?? [chunk];
    });
    const back = pump(socket, guest, (chunk) => {
      audit.bytesIn += chunk.length;
      return ingress?.take(chunk.length, signal)?.then(() => [chunk]) ?? [chunk];
    });
    const breakOff = () => {
      guest.reset();
      socket.resetAndDestroy();
    };
    out.catch(breakOff);
    back.catch(breakOff);
    await Promise.allSettled([out, back]);
  }
}

function end({ socket, guest, audit }: Open, verdict: Verdict): void {
  audit.end(verdict);
  socket.resetAndDestroy();
  guest?.reset();
}

const freePort = (): number => randomInt(32_768, 65_536);
