import { printable } from "./fields.ts";

const MAX_BYTES = 4096;

/** What a process of the agent's own says on stderr, for an error: the first 4 KiB, without what a terminal would act on. */
export class Complaint {
  readonly #pieces: Buffer[] = [];
  #bytes = 0;

  add(chunk: Buffer): void {
    if (this.#bytes < MAX_BYTES) this.#pieces.push(chunk.subarray(0, MAX_BYTES - this.#bytes));
    this.#bytes += chunk.length;
  }

  /** Empty if it has said nothing. */
  toString(): string {
    return printable(Buffer.concat(this.#pieces).toString("utf8")).trim();
  }
}
