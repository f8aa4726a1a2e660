/** So many questions about names per second, with a second's worth at once. */
export class QuestionRate {
  #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #filledAt: number;

  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#now = now;
    this.#left = perSecond;
    this.#filledAt = now();
  }

  /** From now on. */
  limit(perSecond: number): void {
    this.#perSecond = perSecond;
  }

  take(): boolean {
    const now = this.#now();
    this.#left = Math.min(this.#perSecond, this.#left + ((now - this.#filledAt) * this.#perSecond) / 1000);
    this.#filledAt = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
