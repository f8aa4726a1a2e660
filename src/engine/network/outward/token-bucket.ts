/**
 * A limit of so many (bytes, packets) per second, with a tenth of a second's worth at once. Shared by all connections of a sandbox and one
 * direction; who waits is served in turn.
 */
export class TokenBucket {
  readonly #now: () => number;
  #perMs = 0;
  #capacity = Number.POSITIVE_INFINITY;
  #tokens = Number.POSITIVE_INFINITY;
  #filledAt: number;
  #turn: Promise<void> = Promise.resolve();
  /** Wakes who waits by the old rate. */
  #changed = new AbortController();

  /** Undefined: no limit. */
  constructor(perSecond: number | undefined, now: () => number = () => performance.now()) {
    this.#now = now;
    this.#filledAt = now();
    this.limit(perSecond);
  }

  /** From now on; undefined: no limit. */
  limit(perSecond: number | undefined): void {
    this.#perMs = (perSecond ?? 0) / 1000;
    this.#capacity = perSecond === undefined ? Number.POSITIVE_INFINITY : Math.max(perSecond / 10, 1);
    this.#tokens = this.#capacity;
    this.#filledAt = this.#now();
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Resolves when so many bytes may pass; more than fit at once make a debt that the next one waits for. */
  take(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    if (this.#unlimited) return undefined;
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

  /** For how long there is nothing to take, ms; 0: there is something. */
  get emptyForMs(): number {
    this.#fill();
    return this.#tokens > 0 ? 0 : Math.ceil(-this.#tokens / this.#perMs) + 1;
  }

  get #unlimited(): boolean {
    return this.#capacity === Number.POSITIVE_INFINITY;
  }

  async #pay(bytes: number, signal: AbortSignal): Promise<void> {
    this.#fill();
    while (this.#tokens <= 0 && !signal.aborted) {
      const ms = Math.ceil(-this.#tokens / this.#perMs) + 1;
      await elapsed(ms, AbortSignal.any([signal, this.#changed.signal]));
      this.#fill();
    }
    if (!signal.aborted) this.#tokens -= bytes;
  }

  #fill(): void {
    const now = this.#now();
    if (!this.#unlimited)
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
