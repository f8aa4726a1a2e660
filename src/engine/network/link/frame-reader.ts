/**
 * Frames out of a byte stream, as QEMU's `-netdev stream` writes them: four bytes of length in network order, then the
 * frame. A frame that lies within a chunk is a part of it, not a copy; one that crosses chunks is put together once. Whoever keeps
 * a frame keeps its chunk. Bounds: one frame of `maxFrameBytes`.
 */
import { readUint32 } from "../packet/big-endian.ts";

export const LENGTH_BYTES = 4;

export class FrameReader {
  readonly #maxFrameBytes: number;
  readonly #onFrame: (frame: Uint8Array) => void;
  /** The length of the frame that began, as far as it has come. */
  readonly #length = new Uint8Array(LENGTH_BYTES);
  #lengthFilled = 0;
  /** The frame that began, when all of its length has come. */
  #frame: Uint8Array | undefined;
  #frameFilled = 0;

  constructor(maxFrameBytes: number, onFrame: (frame: Uint8Array) => void) {
    this.#maxFrameBytes = maxFrameBytes;
    this.#onFrame = onFrame;
  }

  /** Throws RangeError at a longer frame: nothing can be read after it. Frames before it have been handed out. */
  push(chunk: Uint8Array): void {
    let at = 0;
    if (this.#lengthFilled > 0 || this.#frame !== undefined) at = this.#finish(chunk);
    while (at + LENGTH_BYTES <= chunk.length && this.#frame === undefined && this.#lengthFilled === 0) {
      const end = at + LENGTH_BYTES + this.#checked(readUint32(chunk, at));
      if (end > chunk.length) break;
      this.#onFrame(chunk.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    if (at < chunk.length) this.#finish(chunk.subarray(at));
  }

  /** Goes on with what has begun, or begins; returns how much of the chunk that took. */
  #finish(chunk: Uint8Array): number {
    let at = 0;
    if (this.#frame === undefined) {
      at = Math.min(LENGTH_BYTES - this.#lengthFilled, chunk.length);
      this.#length.set(chunk.subarray(0, at), this.#lengthFilled);
      this.#lengthFilled += at;
      if (this.#lengthFilled < LENGTH_BYTES) return at;
      this.#lengthFilled = 0;
      // Not of a pool: nobody else's bytes are kept with it.
      this.#frame = new Uint8Array(this.#checked(readUint32(this.#length, 0)));
      this.#frameFilled = 0;
    }
    const frame = this.#frame;
    const part = chunk.subarray(at, at + frame.length - this.#frameFilled);
    frame.set(part, this.#frameFilled);
    this.#frameFilled += part.length;
    if (this.#frameFilled === frame.length) {
      this.#frame = undefined;
      this.#onFrame(frame);
    }
    return at + part.length;
  }

  #checked(length: number): number {
    if (length > this.#maxFrameBytes)
      throw new RangeError(`a frame of ${length} bytes on a link of ${this.#maxFrameBytes}`);
    return length;
  }
}
