import { createSocket, type Socket } from "node:dgram";
import type { NetworkPolicy, Question, Verdict } from "../policy/policy.ts";
import { Audit } from "./audit.ts";
import type { GuestDatagrams } from "./guest-side.ts";
import type { OutwardOptions } from "./outward.ts";

/**
 * Datagrams of the guest between two pairs of address and port, over a connected socket of the host: the kernel drops what comes
 * from elsewhere, and tells us what ICMP says. Ends when the guest's side was idle for too long, or when rules change against it.
 */

export class UdpFlow {
  readonly question: Question;
  readonly #flow: GuestDatagrams;
  readonly #options: OutwardOptions;
  readonly #verdict: Verdict;
  readonly #audit: Audit;
  #socket: Socket | undefined;

  constructor(flow: GuestDatagrams, question: Question, options: OutwardOptions, policy: NetworkPolicy) {
    this.#flow = flow;
    this.question = question;
    this.#options = options;
    this.#verdict = policy.decide(question);
    const { address, names } = question;
    this.#audit = new Audit(
      { direction: "egress", protocol: "udp", address, port: flow.destinationPort, names },
      options.audit,
    );
  }

  /** Resolves when the flow is over. Never rejects. */
  async run(): Promise<void> {
    if (!this.#verdict.allowed) {
      this.#audit.end(this.#verdict);
      this.#flow.unreachable("prohibited");
      this.#flow.close();
      return;
    }
    try {
      const socket = await this.#connect();
      for await (const payload of this.#flow) {
        if (this.#options.egress?.tryTake(payload.length) === false) continue;
        this.#audit.bytesOut += payload.length;
        socket.send(payload, () => {});
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#audit.end(this.#verdict);
      this.#flow.close();
      this.#dispose();
    }
  }

  recheck(policy: NetworkPolicy): void {
    const verdict = policy.decide(this.question);
    if (!verdict.allowed && this.#verdict.allowed) this.close(verdict);
  }

  /** The guest is told "prohibited". */
  close(
    verdict: Pick<Verdict, "rule" | "reason"> = {
      rule: this.#verdict.rule,
      reason: "the network was closed",
    },
  ): void {
    this.#audit.end({ ...verdict, allowed: false });
    this.#flow.unreachable("prohibited");
    this.#flow.close();
    this.#dispose();
  }

  async #connect(): Promise<Socket> {
    const { address, port, host } = this.question;
    const socket = createSocket(address.version === 4 ? "udp4" : "udp6");
    this.#socket = socket;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.on("error", (error) => {
      reject(error);
      this.#fail(error);
    });
    socket.on("message", (payload) => {
      if (this.#options.ingress?.tryTake(payload.length) === false) return;
      this.#audit.bytesIn += payload.length;
      this.#flow.reply(payload);
    });
    socket.on("close", () => reject(new Error("the flow was closed")));
    const loopback = address.version === 4 ? "127.0.0.1" : "::1";
    socket.connect(port!, host ? loopback : address.text, (error?: Error) =>
      error ? reject(error) : resolve(),
    );
    await promise;
    return socket;
  }

  /** A refusal does not end the flow: the next datagram may be taken. */
  #fail(error: Error & { code?: string }): void {
    if (error.code === "ECONNREFUSED") this.#flow.unreachable("port");
    else if (error.code === "EHOSTUNREACH") this.#flow.unreachable("host");
    else if (error.code === "ENETUNREACH" || error.code === "EADDRNOTAVAIL")
      this.#flow.unreachable("network");
  }

  #dispose(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }
}
