import type { NetworkPolicy, Question, Verdict } from "../policy/policy.ts";
import { Audit } from "./audit.ts";
import { LOOPBACK } from "./dial.ts";
import { openDirect } from "./direct-datagrams.ts";
import { nameMeantBy } from "./flow-question.ts";
import type { GuestDatagrams } from "./guest-side.ts";
import type { OutwardOptions } from "./outward.ts";
import type { RemoteDatagrams } from "./remote-datagrams.ts";

/**
 * Datagrams of the guest between two pairs of address and port. Ends when the guest's side was idle for too long, when the way out
 * is closed, or when rules change against it.
 */

export class UdpFlow {
  readonly question: Question;
  readonly #flow: GuestDatagrams;
  readonly #options: OutwardOptions;
  readonly #closed = new AbortController();
  readonly #audit: Audit;
  #verdict: Verdict;
  #remote: RemoteDatagrams | undefined;

  constructor(flow: GuestDatagrams, question: Question, options: OutwardOptions, policy: NetworkPolicy) {
    this.#flow = flow;
    this.question = question;
    this.#options = options;
    this.#verdict = policy.decide(question);
    const { address, names } = question;
    this.#audit = new Audit(
      {
        direction: "egress",
        protocol: "udp",
        address,
        port: flow.destinationPort,
        names,
        flow: options.began?.(flow, "udp"),
      },
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
      this.#remote = await this.#open();
      for await (const payload of this.#flow) {
        if (this.#closed.signal.aborted) break;
        if (this.#options.egress?.tryTake(payload.length) === false) continue;
        this.#audit.bytesOut += payload.length;
        this.#remote.send(payload);
      }
    } catch (error) {
      this.#notOpened(error as Error);
    } finally {
      this.#audit.end(this.#verdict);
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
    this.#dispose();
  }

  #open(): Promise<RemoteDatagrams> {
    const { address, port, host } = this.question;
    const { signal } = this.#closed;
    const options = { timeoutMs: this.#options.connectTimeoutMs, signal, name: nameMeantBy(this.question) };
    const hears = {
      onDatagram: (payload: Uint8Array) => {
        if (this.#options.ingress?.tryTake(payload.length) === false) return;
        this.#audit.bytesIn += payload.length;
        this.#flow.reply(payload);
      },
      onFailure: (error: Error) => this.#tell(error),
      onOver: (error: Error) => {
        this.#verdict = { ...this.#verdict, reason: `${this.#verdict.reason}, but: ${error.message}` };
        this.#dispose();
      },
    };
    // What is the host's own goes to it, and through no proxy.
    if (host) return openDirect(LOOPBACK[address.version], port!, hears, options);
    return this.#options.openDatagrams(address, port!, hears, options);
  }

  #notOpened(error: Error & { code?: string }): void {
    const reason = `allowed by ${this.#verdict.rule}, but: ${error.message}`;
    // The way out carries no datagrams: none of them will ever arrive, and programs turn to TCP when they are told so.
    const never = error.code === "EOPNOTSUPP";
    this.#verdict = { ...this.#verdict, reason, allowed: !never, ...(never ? { rule: "proxy" } : {}) };
    if (never) this.#flow.unreachable("prohibited");
    else this.#tell(error);
  }

  /** A refusal does not end the flow: the next datagram may be taken. */
  #tell(error: Error & { code?: string }): void {
    if (error.code === "ECONNREFUSED") this.#flow.unreachable("port");
    else if (error.code === "EHOSTUNREACH") this.#flow.unreachable("host");
    else if (error.code === "ENETUNREACH" || error.code === "EADDRNOTAVAIL")
      this.#flow.unreachable("network");
  }

  #dispose(): void {
    this.#closed.abort();
    this.#flow.close();
    this.#remote?.close();
    this.#remote = undefined;
  }
}
