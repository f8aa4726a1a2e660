import type { PoolShape } from "./shape.ts";
import { keyOf } from "./shape.ts";

/** What was asked for this long ago will not be asked for again. */
const RECENT_MS = 10 * 60_000;
/** Of each: a burst is rarer than the next one. */
const MOST = 2;
/** Kinds that are remembered: whoever asks for ever other images does not fill the memory. */
const MAX_KINDS = 100;

interface Use {
  shape: PoolShape;
  /** When it was asked for, oldest first; at most `MOST`. */
  times: number[];
}

/** What sandboxes were asked for recently: as many as were, up to two, are worth keeping ready. */
export class RecentUse {
  readonly #uses = new Map<string, Use>();

  /** @param now milliseconds of a clock that never goes back */
  note(shape: PoolShape, now: number): void {
    const key = keyOf(shape);
    const times = [...(this.#uses.get(key)?.times ?? []), now].slice(-MOST);
    // The latest is last.
    this.#uses.delete(key);
    this.#uses.set(key, { shape, times });
    if (this.#uses.size > MAX_KINDS) this.#uses.delete(this.#uses.keys().next().value!);
  }

  /** What is worth keeping, the latest first. */
  wanted(now: number): { shape: PoolShape; count: number }[] {
    for (const [key, use] of this.#uses) {
      use.times = use.times.filter((time) => now - time < RECENT_MS);
      if (use.times.length === 0) this.#uses.delete(key);
    }
    return [...this.#uses.values()].reverse().map(({ shape, times }) => ({ shape, count: times.length }));
  }
}
