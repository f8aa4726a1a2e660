/**
 * A limit in bytes per second, with a tenth of a second's worth at once. Shared by all connections of a sandbox and one direction;
 * who waits is served in turn.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #capacity: number;
  readonly #now: () => number;
  #tokens: number;
  #filledAt: number;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(bytesPerSecond: number, now: () => number = () => performance.now()) {
    this.#perMs = bytesPerSecond / 1000;
    this.#capacity = Math.max(bytesPerSecond / 10, 1);
    this.#tokens = this.#capacity;
    this.#now = now;
    this.#filledAt = now();
  }

  /** Resolves when so many bytes may pass; more than fit at once make a debt that the next one waits for. */
  take(bytes: number, signal: AbortSignal): Promise<void> {
    const turn = this.#turn.then(() => this.#pay(bytes, signal));
    this.#turn = turn;
    return turn;
  }

  /** For datagrams, which are dropped instead. */
  tryTake(bytes: number): boolean {
    this.#fill();
    if (this.#tokens <= 0) return false;
    this.#tokens -= bytes;
    return true;
  }

  async #pay(bytes: number, signal: AbortSignal): Promise<void> {
    this.#fill();
    while (this.#tokens <= 0 && !signal.aborted) {
      await elapsed(Math.ceil(-this.#tokens / this.#perMs) + 1, signal);
      this.#fill();
    }
    if (!signal.aborted) this.#tokens -= bytes;
  }

  #fill(): void {
    const now = this.#now();
    this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
  }
}

function elapsed(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
