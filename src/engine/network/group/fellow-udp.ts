import type { GuestDatagrams } from "../outward/guest-side.ts";
import type { TokenBucket } from "../outward/token-bucket.ts";
import { sourcePorts } from "./fellow.ts";
import type { Passage, Refusal } from "./passage.ts";

/**
 * Datagrams between two fellows: a flow at the stack of each, joined. It ends with either of the two: when it was silent for too
 * long, when the callee's guest says that nobody listens (the caller's is told), or when rules of either end change against it.
 */
export class FellowUdp {
  readonly passage: Passage;
  readonly #outer: GuestDatagrams;
  #inner: GuestDatagrams | undefined;
  #closed = false;

  constructor(flow: GuestDatagrams, passage: Passage) {
    this.#outer = flow;
    this.passage = passage;
  }

  /** It was let through by both. Resolves when it is over, and never rejects. */
  async run(): Promise<void> {
    const { passage } = this;
    const { caller, callee } = passage;
    const inner = this.#open();
    this.#inner = inner;
    if (inner === undefined) {
      this.#end("the other end has such an exchange already");
      return;
    }
    const out = relay(this.#outer, inner, [caller.egress, callee.ingress], (bytes) =>
      passage.countOut(bytes),
    );
    const back = relay(inner, this.#outer, [callee.egress, caller.ingress], (bytes) =>
      passage.countBack(bytes),
    );
    await Promise.race([out, back]);
    if (inner.refused) this.#outer.unreachable("port");
    this.#end(inner.refused ? "nobody listens there" : undefined);
    await Promise.all([out, back]);
  }

  recheck(): void {
    const refusal = this.passage.refusal();
    if (refusal !== undefined) this.close(refusal);
  }

  /** The caller's guest is told "prohibited". */
  close(why: Refusal | string): void {
    if (this.#closed) return;
    if (typeof why === "string") this.passage.over(why);
    else this.passage.refused(why, true);
    this.#outer.unreachable("prohibited");
    this.#end();
  }

  #open(): GuestDatagrams | undefined {
    const { flow, callee } = this.passage;
    for (const sourcePort of sourcePorts(flow.sourcePort)) {
      const inner = callee.gateway.openUdp({ ...flow, sourcePort });
      if (inner !== undefined) return inner;
    }
    return undefined;
  }

  #end(but?: string): void {
    this.#closed = true;
    this.passage.over(but);
    this.#outer.close();
    this.#inner?.close();
  }
}

async function relay(
  from: GuestDatagrams,
  to: GuestDatagrams,
  buckets: (TokenBucket | undefined)[],
  count: (bytes: number) => void,
): Promise<void> {
  try {
    for await (const payload of from) {
      if (buckets.some((bucket) => bucket?.tryTake(payload.length) === false)) continue;
      count(payload.length);
      to.reply(payload);
    }
  } catch {
    // A side that broke is over, as one that was closed.
  }
}
