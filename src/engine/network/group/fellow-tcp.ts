import { fateOf } from "../outward/dial.ts";
import type { GuestRequest, GuestStream } from "../outward/guest-side.ts";
import { pump } from "../outward/pump.ts";
import type { TokenBucket } from "../outward/token-bucket.ts";
import { sourcePorts } from "./fellow.ts";
import type { Passage, Refusal } from "./passage.ts";

/**
 * A TCP connection between two fellows: each guest speaks with its own stack, and what the one says goes on to the other. The
 * callee's guest is asked first, so that what it refuses is refused to the caller. Ends when both directions have, when one breaks, when
 * rules of either end change against it, or when one of both is gone.
 */

export class FellowTcp {
  readonly passage: Passage;
  readonly #request: GuestRequest;
  readonly #closed = new AbortController();
  #outer: GuestStream | undefined;
  #inner: GuestStream | undefined;

  constructor(request: GuestRequest, passage: Passage) {
    this.#request = request;
    this.passage = passage;
  }

  /** It was let through by both. Resolves when it is over, and never rejects. */
  async run(): Promise<void> {
    const signal = AbortSignal.any([this.#closed.signal, this.#request.signal]);
    try {
      this.#inner = await this.#connect(signal);
    } catch (error) {
      this.passage.over(error instanceof Error ? error.message : String(error));
      if (signal.aborted) return;
      // Whatever was not silence is told, as by a host of its own.
      if (fateOf(error) === "drop") this.#request.drop();
      else this.#request.reset();
      return;
    }
    this.#inner.on("error", () => {});
    if (signal.aborted) this.#inner.reset();
    else await this.#relay(this.#request.accept(), this.#inner);
    this.passage.over();
  }

  recheck(): void {
    const refusal = this.passage.refusal();
    if (refusal !== undefined) this.close(refusal);
  }

  /** Ends it at once; both guests see a reset. */
  close(why: Refusal | string): void {
    if (this.#closed.signal.aborted) return;
    if (typeof why === "string") this.passage.over(why);
    else this.passage.refused(why, true);
    this.#closed.abort();
    if (this.#outer === undefined) this.#request.reset();
    this.#outer?.reset();
    this.#inner?.reset();
  }

  /** The callee's stack has a deadline for its guest's answer. */
  async #connect(signal: AbortSignal): Promise<GuestStream> {
    const { flow, callee } = this.passage;
    let taken: unknown;
    for (const sourcePort of sourcePorts(flow.sourcePort)) {
      try {
        return await callee.gateway.tcp.connect({ ...flow, sourcePort }, signal);
      } catch (error) {
        if ((error as { code?: string }).code !== "EADDRINUSE") throw error;
        taken = error;
      }
    }
    throw taken;
  }

  async #relay(outer: GuestStream, inner: GuestStream): Promise<void> {
    const { caller, callee } = this.passage;
    const { signal } = this.#closed;
    this.#outer = outer;
    outer.on("error", () => {});
    const out = pump(outer, inner, (chunk) => {
      this.passage.countOut(chunk.length);
      return paid(chunk, [caller.egress, callee.ingress], signal);
    });
    const back = pump(inner, outer, (chunk) => {
      this.passage.countBack(chunk.length);
      return paid(chunk, [callee.egress, caller.ingress], signal);
    });
    const breakOff = () => {
      outer.reset();
      inner.reset();
    };
    out.catch(breakOff);
    back.catch(breakOff);
    await Promise.allSettled([out, back]);
  }
}

/** When both ends let it through: at once where neither has a limit, which is most often so. */
function paid(
  chunk: Buffer,
  buckets: (TokenBucket | undefined)[],
  signal: AbortSignal,
): Buffer[] | Promise<Buffer[]> {
  const waits = buckets.flatMap((bucket) => bucket?.take(chunk.length, signal) ?? []);
  return waits.length === 0 ? [chunk] : Promise.all(waits).then(() => [chunk]);
}
