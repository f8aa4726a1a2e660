import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../clock.ts";

interface Timer {
  at: number;
  callback: () => void;
}

/** Time that moves when it is told to. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get waiting(): number {
    return this.#timers.size;
  }

  /** Lets `ms` pass, with all that is due on the way; streams have their turns in between. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#next(); next !== undefined && next.at <= end; next = this.#next()) {
      this.#now = next.at;
      this.#timers.delete(next);
      next.callback();
      await settle();
    }
    this.#now = end;
  }

  /** Lets time pass until `done`; false when `limitMs` did not suffice. */
  async passUntil(done: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.#now + limitMs;
    await settle();
    while (!done()) {
      const next = this.#next();
      if (next === undefined || next.at > end) return false;
      await this.pass(next.at - this.#now);
    }
    return true;
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) if (first === undefined || timer.at < first.at) first = timer;
    return first;
  }
}

/** What one thing may lead to before time has to pass: bytes are read, acknowledged, and more is sent. */
const TURNS = 4;

/** Everything that was put off to a microtask, a tick or the next turn has run, and what that put off. */
export async function settle(): Promise<void> {
  for (let i = 0; i < TURNS; i++) await turn();
}
