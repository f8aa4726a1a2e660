import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import type { PublishedPort } from "../../../contract/network.ts";
import { Audit } from "../outward/audit.ts";
import type { GuestDatagrams } from "../outward/guest-side.ts";
import type { NetworkPolicy, Question, Verdict } from "../policy/policy.ts";
import { clientOf, peerOf } from "./client-address.ts";
import type { Inward } from "./inward.ts";
import { portError } from "./port-error.ts";

/**
 * A UDP port of the host that leads into the sandbox. Each client has a flow of its own, which ends when it was silent for too long.
 * Bounds: the gateway's flows, of which the oldest goes; 1,024 clients that were denied are remembered, so that they are told of once.
 */

const MAX_DENIED = 1024;

interface Client {
  question: Question;
  verdict: Verdict;
  flow: GuestDatagrams;
  audit: Audit;
}

export class PublishedUdp {
  readonly port: PublishedPort;
  readonly #inward: Inward;
  readonly #socket: Socket;
  readonly #clients = new Map<string, Client>();
  readonly #denied = new Set<string>();

  private constructor(port: PublishedPort, inward: Inward, socket: Socket) {
    this.port = { ...port, host: socket.address().port };
    this.#inward = inward;
    this.#socket = socket;
    socket.on("message", (payload, from) => this.#receive(payload, from));
    socket.on("error", () => {});
  }

  /** Throws what `portError` makes of the failure. */
  static async listen(port: PublishedPort, inward: Inward): Promise<PublishedUdp> {
    const socket = createSocket(
      port.bind.includes(":") ? { type: "udp6", ipv6Only: true } : { type: "udp4" },
    );
    try {
      socket.bind({ address: port.bind, port: port.host, exclusive: true });
      await once(socket, "listening");
    } catch (error) {
      socket.close();
      throw portError(port, error as Error);
    }
    return new PublishedUdp(port, inward, socket);
  }

  get size(): number {
    return this.#clients.size;
  }

  recheck(policy: NetworkPolicy): void {
    this.#denied.clear();
    for (const { question, audit, flow } of this.#clients.values()) {
      const verdict = policy.decide(question);
      if (verdict.allowed) continue;
      audit.end(verdict);
      flow.close();
    }
  }

  close(): void {
    this.#socket.close();
    for (const { flow } of this.#clients.values()) flow.close();
  }

  #receive(payload: Buffer, from: RemoteInfo): void {
    const key = `${from.address} ${from.port}`;
    if (this.#denied.has(key)) return;
    const client = this.#clients.get(key) ?? this.#begin(key, from);
    if (client === undefined || this.#inward.ingress?.tryTake(payload.length) === false) return;
    client.audit.bytesIn += payload.length;
    client.flow.reply(payload);
  }

  #begin(key: string, from: RemoteInfo): Client | undefined {
    const { link, policy, audit: give, gateway } = this.#inward;
    const address = peerOf(from.address) ?? clientOf(from.address, link);
    const { guest: port } = this.port;
    const question: Question = { direction: "ingress", protocol: "udp", address, port, names: [] };
    const verdict = policy().decide(question);
    const audit = new Audit({ direction: "ingress", protocol: "udp", address, port, names: [] }, give);
    if (!verdict.allowed) {
      audit.end(verdict);
      if (this.#denied.size >= MAX_DENIED) this.#denied.clear();
      this.#denied.add(key);
      return undefined;
    }
    const source = clientOf(from.address, link);
    const guest = link.guest.addresses.find((end) => end.address.version === source.version)!;
    const flow = gateway.openUdp({
      source,
      sourcePort: from.port,
      destination: guest.address,
      destinationPort: port,
    });
    // Another client of the host has this port, on an address that is the same one to the guest.
    if (flow === undefined) return undefined;
    const client = { question, verdict, flow, audit };
    this.#clients.set(key, client);
    this.#inward.visited?.();
    void this.#answer(client, from).finally(() => this.#clients.delete(key));
    return client;
  }

  async #answer({ flow, audit, verdict }: Client, to: RemoteInfo): Promise<void> {
    for await (const payload of flow) {
      if (this.#inward.egress?.tryTake(payload.length) === false) continue;
      audit.bytesOut += payload.length;
      this.#socket.send(payload, to.port, to.address, () => {});
    }
    audit.end(verdict);
  }
}
