/** Knows whether anybody is being served, and since when nobody is. */
export class Activity {
  #count = 0;
  #quietSince = performance.now();

  get count(): number {
    return this.#count;
  }

  /** Milliseconds since the last request ended; 0 while one runs. */
  get quietMs(): number {
    return this.#count > 0 ? 0 : performance.now() - this.#quietSince;
  }

  /** Something other than a request was going on until now. */
  touch(): void {
    this.#quietSince = performance.now();
  }

  /** @returns what to call when it has ended; calling it again does nothing */
  begin(): () => void {
    this.#count++;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#count--;
      this.#quietSince = performance.now();
    };
  }
}
