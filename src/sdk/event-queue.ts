/**
 * Hands values from a producer that pushes to one consumer that iterates, and tells the producer when to hold back.
 */
export class EventQueue<T> implements AsyncIterableIterator<T> {
  readonly #limit: number;
  readonly #hold: (held: boolean) => void;
  #waiting: PromiseWithResolvers<IteratorResult<T>> | undefined;
  #items: { value: T; size: number }[] = [];
  #size = 0;
  #held = false;
  #end: { error?: unknown } | undefined;
  #discarding = false;

  /**
   * @param limit size at which the producer is held back
   * @param hold called with true to hold it back, with false to let it go on
   */
  constructor(limit: number, hold: (held: boolean) => void) {
    this.#limit = limit;
    this.#hold = hold;
  }

  push(value: T, size: number): void {
    if (this.#end || this.#discarding) return;
    if (this.#waiting) {
      this.#waiting.resolve({ value, done: false });
      this.#waiting = undefined;
      return;
    }
    this.#items.push({ value, size });
    this.#size += size;
    if (this.#size >= this.#limit) this.#setHeld(true);
  }

  /** No more values. What is queued is still delivered, then the error, if any, is thrown. */
  end(error?: unknown): void {
    if (this.#end) return;
    this.#end = error === undefined ? {} : { error };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (error === undefined) waiting?.resolve({ value: undefined, done: true });
    else waiting?.reject(error);
  }

  /** From now on nobody wants the values: the producer is never held back again. */
  discard(): void {
    this.#discarding = true;
    this.#items = [];
    this.#size = 0;
    this.#setHeld(false);
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item) {
      this.#size -= item.size;
      if (this.#size < this.#limit / 2) this.#setHeld(false);
      return Promise.resolve({ value: item.value, done: false });
    }
    if (this.#end) {
      const { error } = this.#end;
      return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
    }
    this.#waiting ??= Promise.withResolvers();
    return this.#waiting.promise;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #setHeld(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    this.#hold(held);
  }
}
