const NEWLINE = 10;
/** No record of a log is longer: one chunk of output, as JSON at its worst. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;

/** Puts pieces of a file together into lines. What is longer than 4 MiB is no line of ours, and is left out. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** The lines that end in this piece. The caller may use its memory again. */
  push(piece: Buffer): string[] {
    const bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    const rest = bytes.subarray(end);
    this.#rest = rest.length > MAX_LINE_BYTES ? Buffer.alloc(0) : Buffer.from(rest);
    return end === 0 ? [] : bytes.toString("utf8", 0, end - 1).split("\n");
  }
}
