/**
 * The times at which a connection has something to do, over one timer. They move with every segment, mostly to later, so the
 * timer is left alone then and looks again when it fires.
 */
import type { Clock } from "./clock.ts";

const KINDS = ["acknowledge", "retransmit", "idle"] as const;
export type Deadline = (typeof KINDS)[number];

export class Deadlines {
  readonly #clock: Clock;
  readonly #due: (kind: Deadline, now: number) => void;
  readonly #at: Record<Deadline, number> = { acknowledge: Infinity, retransmit: Infinity, idle: Infinity };
  #timerAt = Infinity;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, due: (kind: Deadline, now: number) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  has(kind: Deadline): boolean {
    return this.#at[kind] !== Infinity;
  }

  set(kind: Deadline, at: number, now: number): void {
    this.#at[kind] = at;
    if (at >= this.#timerAt) return;
    this.#cancel?.();
    this.#timerAt = at;
    // Timers count whole milliseconds, and one that fires early would only wait again.
    this.#cancel = this.#clock.after(Math.max(1, Math.ceil(at - now)), () => this.#fire());
  }

  clear(kind: Deadline): void {
    this.#at[kind] = Infinity;
  }

  clearAll(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#timerAt = Infinity;
    for (const kind of KINDS) this.#at[kind] = Infinity;
  }

  #fire(): void {
    this.#cancel = undefined;
    this.#timerAt = Infinity;
    const now = this.#clock.now();
    for (const kind of KINDS) {
      if (this.#at[kind] > now) continue;
      this.#at[kind] = Infinity;
      this.#due(kind, now);
    }
    for (const kind of KINDS) if (this.#at[kind] < this.#timerAt) this.set(kind, this.#at[kind], now);
  }
}
