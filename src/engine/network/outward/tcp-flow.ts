import type { Socket } from "node:net";
import type { NetworkPolicy, Question, Verdict } from "../policy/policy.ts";
import { Audit } from "./audit.ts";
import { fateOf, LOOPBACK } from "./dial.ts";
import { nameCheckOf, nameMeantBy } from "./flow-question.ts";
import type { Refusal } from "./guard.ts";
import type { GuestRequest, GuestStream } from "./guest-side.ts";
import { NameGuard, WEB_PORTS } from "./name-guard.ts";
import type { OutwardOptions } from "./outward.ts";
import { pump } from "./pump.ts";
import { refusalPage, TLS_ACCESS_DENIED } from "./refusal-page.ts";

/**
 * One TCP connection of the guest, from its SYN on: decide, dial, answer the SYN, relay. The far side's answer to our dial is the
 * guest's: nothing is accepted before it. Where names count, the first bytes wait here until a name in them has passed, so that
 * nothing of what is refused has gone out. Ends when both directions have, when one breaks, or when rules change against it.
 */

/** How long a guest may take to say whom it wants to talk to, where that counts. */
const NAME_MS = 10_000;
/** How long a refused guest may take to read why. */
const PAGE_MS = 5_000;

export class TcpFlow {
  readonly question: Question;
  readonly #request: GuestRequest;
  readonly #options: OutwardOptions;
  readonly #policy: () => NetworkPolicy;
  readonly #closed = new AbortController();
  readonly #audit: Audit;
  #verdict: Verdict;
  /** Names that the connection itself carried. */
  readonly #seen = new Set<string>();
  #guest: GuestStream | undefined;
  #socket: Socket | undefined;
  #refused = false;

  constructor(
    request: GuestRequest,
    question: Question,
    options: OutwardOptions,
    policy: () => NetworkPolicy,
  ) {
    this.#request = request;
    this.question = question;
    this.#options = options;
    this.#policy = policy;
    this.#verdict = policy().decide(question);
    const { address, names } = question;
    this.#audit = new Audit(
      {
        direction: "egress",
        protocol: "tcp",
        address,
        port: request.destinationPort,
        names,
        flow: options.began?.(request, "tcp"),
      },
      options.audit,
    );
  }

  /** Resolves when the connection is over. Never rejects. */
  async run(): Promise<void> {
    if (!this.#verdict.allowed) return this.#deny();
    // It may have waited for its turn so long that the guest gave up.
    if (this.#request.signal.aborted) {
      this.#audit.end(this.#verdict);
      return;
    }
    const { signal } = this.#closed;
    // Not AbortSignal.any(), which holds more than all else that a connection needs of signals.
    this.#request.signal.addEventListener("abort", () => this.#closed.abort(), { once: true });
    let socket: Socket;
    try {
      socket = await this.#dial(signal);
    } catch (error) {
      this.#tellFate(error, signal);
      return;
    }
    // Between the far side's answer and this line somebody may have given up.
    if (signal.aborted) {
      socket.destroy();
      this.#audit.end(this.#verdict);
      return;
    }
    this.#socket = socket;
    this.#guest = this.#request.accept();
    await this.#relay(this.#guest, socket);
  }

  /** Closes it where these rules would not have let it through with the names that it has. */
  recheck(policy: NetworkPolicy): void {
    if (this.#closed.signal.aborted || !this.#verdict.allowed) return;
    const names =
      this.#seen.size > 0 && this.#verdict.inspect === "required"
        ? [...this.#seen]
        : [...this.question.names, ...this.#seen];
    const verdict = policy.decide({ ...this.question, names });
    // Rules for names that came after the first bytes can no longer be checked against them.
    const unchecked = verdict.inspect === "required" && this.#verdict.inspect !== "required";
    if (verdict.allowed && !unchecked) return;
    this.close(
      verdict.allowed
        ? {
            ...verdict,
            allowed: false,
            reason: "the rules changed to ones for names, which this connection began without",
          }
        : verdict,
    );
  }

  /** Ends it at once; the guest sees a reset. */
  close(
    verdict: Pick<Verdict, "rule" | "reason"> = {
      rule: this.#verdict.rule,
      reason: "the network was closed",
    },
  ): void {
    if (this.#closed.signal.aborted) return;
    this.#audit.end({ ...verdict, allowed: false });
    this.#closed.abort();
    if (this.#guest === undefined) this.#request.reset();
    this.#guest?.reset();
    this.#socket?.resetAndDestroy();
  }

  #dial(signal: AbortSignal): Promise<Socket> {
    const { address, port, host } = this.question;
    const options = { timeoutMs: this.#options.connectTimeoutMs, signal, name: nameMeantBy(this.question) };
    // What is the host's own goes to it, and through no proxy.
    if (host) return this.#options.dialLocal(LOOPBACK[address.version], port!, options);
    return this.#options.dial(address, port!, options);
  }

  async #deny(): Promise<void> {
    this.#audit.end(this.#verdict);
    if (this.question.port !== 80) {
      this.#request.reset();
      return;
    }
    const guest = this.#request.accept();
    this.#guest = guest;
    guest.on("error", () => {});
    const { promise, resolve } = Promise.withResolvers<void>();
    guest.once("close", resolve);
    // A page before the question confuses clients.
    guest.once("data", () => this.#tellPage(guest));
    this.#endSoon(guest);
    if (!guest.destroyed) await promise;
  }

  #tellPage(guest: GuestStream): void {
    guest.end(refusalPage(this.#verdict.rule, this.#verdict.reason));
    guest.resume();
  }

  #endSoon(guest: GuestStream): void {
    const timer = setTimeout(() => guest.reset(), PAGE_MS);
    const abort = () => guest.reset();
    this.#closed.signal.addEventListener("abort", abort, { once: true });
    guest.once("close", () => clearTimeout(timer));
  }

  #tellFate(error: unknown, signal: AbortSignal): void {
    const reason = `allowed by ${this.#verdict.rule}, but: ${error instanceof Error ? error.message : error}`;
    this.#audit.end({ ...this.#verdict, reason });
    if (signal.aborted) return;
    const fate = fateOf(error);
    if (fate === "reset") this.#request.reset();
    else {
      if (fate !== "drop") this.#options.unreachable(this.#request, fate);
      this.#request.drop();
    }
  }

  async #relay(guest: GuestStream, socket: Socket): Promise<void> {
    const { signal } = this.#closed;
    const guard = this.#guard();
    let late: NodeJS.Timeout | undefined;
    const refuseLate = () => {
      if (this.#audit.bytesOut === 0) this.#refuse(guest, socket, LATE);
    };
    const { egress, ingress } = this.#options;
    // Errors arrive at the pumps; one that comes after them must not end the process.
    guest.on("error", () => {});
    socket.on("error", () => {});
    const out = pump(guest, socket, (chunk) => {
      if (this.#refused) return [];
      // From its first byte on: who waits for a server's greeting has time.
      if (guard !== undefined) late ??= setTimeout(refuseLate, this.#options.nameTimeoutMs ?? NAME_MS);
      const { pass, refusal } = guard?.push(chunk) ?? { pass: [chunk] };
      const bytes = pass.reduce((sum, part) => sum + part.length, 0);
      if (refusal !== undefined) this.#refuse(guest, socket, refusal);
      if (refusal !== undefined) return [];
      this.#audit.bytesOut += bytes;
      return egress?.take(bytes, signal)?.then(() => pass) ?? pass;
    });
    const back = pump(socket, guest, (chunk) => {
      if (this.#refused) return [];
      const freed = guard?.answered(chunk);
      if (freed?.refusal !== undefined) this.#refuse(guest, socket, freed.refusal);
      else for (const part of freed?.pass ?? []) socket.write(part);
      const pass = () => {
        this.#audit.bytesIn += chunk.length;
        return this.#refused ? [] : [chunk];
      };
      return ingress?.take(chunk.length, signal)?.then(pass) ?? pass();
    });
    const breakOff = () => {
      if (this.#refused) return;
      guest.reset();
      socket.resetAndDestroy();
    };
    out.catch(breakOff);
    back.catch(breakOff);
    await Promise.allSettled([out, back]);
    clearTimeout(late);
    this.#audit.end(this.#verdict);
  }

  #guard(): NameGuard | undefined {
    const { inspect } = this.#verdict;
    const web = WEB_PORTS.has(this.question.port!);
    if (inspect === undefined || (inspect === "advisory" && !web)) return undefined;
    const check = nameCheckOf(this.#policy, this.question, inspect, (name, verdict) => {
      if (name !== undefined) this.#audit.name = name;
      if (name !== undefined && verdict?.allowed) this.#seen.add(name);
      if (verdict !== undefined) this.#verdict = { ...verdict, inspect };
    });
    return new NameGuard(check, inspect === "required" && web ? "refuse" : "pass");
  }

  /** Nothing more goes out; the guest is told in what it speaks. */
  #refuse(guest: GuestStream, socket: Socket, { reason, speaks }: Refusal): void {
    if (this.#refused || this.#closed.signal.aborted) return;
    this.#refused = true;
    this.#verdict = { ...this.#verdict, allowed: false, reason };
    this.#audit.end(this.#verdict);
    socket.destroy();
    if (speaks === "unknown") {
      guest.reset();
      return;
    }
    guest.end(speaks === "tls" ? TLS_ACCESS_DENIED : refusalPage(this.#verdict.rule, reason));
    this.#endSoon(guest);
  }
}

const LATE: Refusal = { reason: "the connection did not say in time whom it is for", speaks: "unknown" };
