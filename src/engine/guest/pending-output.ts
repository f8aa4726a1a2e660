/** What of a process's output waits for its reader. */
export interface OutputChunk {
  stream: OutputName;
  /** Offset of the first byte since the process's start. */
  offset: number;
  /** Empty at the end of the stream. */
  chunk: Buffer;
}

export type OutputName = "stdout" | "stderr";

const SLAB_BYTES = 65_536;
// Smaller chunks are copied together: the guest chooses their size, and a Buffer costs more than its bytes.
const COPY_BELOW = 16_384;
const MERGE_BYTES = 262_144;

/**
 * Output that arrived while its reader was busy. It comes out in larger pieces than it went in; each stream in
 * order, the two by the arrival of their oldest piece. Memory stays near the bytes held, whatever the guest's
 * frames look like; how many bytes there can be is bounded by the credit.
 */
export class PendingOutput {
  readonly #streams: Record<OutputName, PendingStream> = {
    stdout: new PendingStream(),
    stderr: new PendingStream(),
  };
  #arrival = 0;

  get empty(): boolean {
    return this.#streams.stdout.oldest === Infinity && this.#streams.stderr.oldest === Infinity;
  }

  add({ stream, offset, chunk }: OutputChunk): void {
    this.#streams[stream].add(offset, chunk, this.#arrival++);
  }

  take(): OutputChunk | undefined {
    const { stdout, stderr } = this.#streams;
    if (this.empty) return undefined;
    const stream = stdout.oldest < stderr.oldest ? "stdout" : "stderr";
    return { stream, ...this.#streams[stream].take() };
  }
}

interface Piece {
  arrival: number;
  bytes: Buffer;
}

class PendingStream {
  #pieces: Piece[] = [];
  #offset = 0;
  #endArrival = Infinity;
  // Where small chunks are copied to: `#used` bytes of it belong to pieces.
  #slab: Buffer = Buffer.alloc(0);
  #used = 0;
  // The last piece ends where the slab's free part starts, so it can grow.
  #growing = false;

  /** When the oldest piece arrived; Infinity when there is none. */
  get oldest(): number {
    return this.#pieces[0]?.arrival ?? this.#endArrival;
  }

  add(offset: number, chunk: Buffer, arrival: number): void {
    if (this.oldest === Infinity) this.#offset = offset;
    if (chunk.length === 0) {
      this.#endArrival = arrival;
    } else if (chunk.length >= COPY_BELOW) {
      this.#pieces.push({ arrival, bytes: chunk });
      this.#growing = false;
    } else {
      this.#copy(chunk, arrival);
    }
  }

  take(): { offset: number; chunk: Buffer } {
    const offset = this.#offset;
    if (this.#pieces.length === 0) {
      this.#endArrival = Infinity;
      return { offset, chunk: Buffer.alloc(0) };
    }
    let count = 0;
    let length = 0;
    while (count < this.#pieces.length && length < MERGE_BYTES) length += this.#pieces[count++]!.bytes.length;
    const taken = this.#pieces.splice(0, count).map((piece) => piece.bytes);
    if (this.#pieces.length === 0) {
      // Most processes are never behind: they should not each keep a slab.
      this.#slab = Buffer.alloc(0);
      this.#used = 0;
      this.#growing = false;
    }
    this.#offset += length;
    return { offset, chunk: taken.length === 1 ? taken[0]! : Buffer.concat(taken, length) };
  }

  #copy(chunk: Buffer, arrival: number): void {
    if (this.#slab.length - this.#used < chunk.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
      this.#growing = false;
    }
    const end = this.#used + chunk.length;
    chunk.copy(this.#slab, this.#used);
    const last = this.#pieces.at(-1);
    if (this.#growing && last !== undefined) {
      last.bytes = this.#slab.subarray(this.#used - last.bytes.length, end);
    } else {
      this.#pieces.push({ arrival, bytes: this.#slab.subarray(this.#used, end) });
      this.#growing = true;
    }
    this.#used = end;
  }
}
