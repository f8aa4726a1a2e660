/** Numbers are reserved in blocks, so that an exec does not wait for the database. */
const BLOCK = 256;

/** Numbers for a sandbox's processes, of which none is used twice in its life, whatever dies. */
export class ProcessNumbers {
  #last: number;
  #reserved: number;
  readonly #reserve: (reserved: number) => void;

  /**
   * @param reserved below this number any may have been used
   * @param reserve keeps a new `reserved`, before the first number beyond the old one is given out
   */
  constructor(reserved: number, reserve: (reserved: number) => void) {
    this.#last = reserved;
    this.#reserved = reserved;
    this.#reserve = reserve;
  }

  take(): number {
    const number = ++this.#last;
    if (number >= this.#reserved) {
      this.#reserved = number + BLOCK;
      this.#reserve(this.#reserved);
    }
    return number;
  }
}
