/**
 * Bytes in order, taken in as they come and given out in pieces of any size. A large piece is kept as it is; small ones are copied
 * together. A guest that sends single bytes would otherwise hold an object for each of them, and by each
 * the whole buffer that it came in: 64 KiB for one byte. So at most four and a half times of what is queued is held.
 */
import type { Meter } from "./limits.ts";

/** Pieces from here on are kept without a copy: the full segments of our link are, 15,760 bytes or 15,740. */
const LARGE = 15_000;
const SMALLEST_BLOCK = 256;
const LARGEST_BLOCK = 32 * 1024;

export class ByteQueue {
  readonly #meter: Pick<Meter, "bytes">;
  /** The first `#head` are gone already. */
  #pieces: Uint8Array[] = [];
  #head = 0;
  #length = 0;
  /** Where small pieces are copied to: the last piece is a part of it, if `#open`. */
  #block: Uint8Array | undefined;
  #filled = 0;
  #open = false;

  constructor(meter: Pick<Meter, "bytes">) {
    this.#meter = meter;
  }

  get length(): number {
    return this.#length;
  }

  /** A large piece is not copied and must not be changed any more. */
  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#grow(bytes.length);
    if (bytes.length >= LARGE) {
      this.#pieces.push(bytes);
      this.#open = false;
      return;
    }
    for (let at = 0; at < bytes.length; ) at += this.#copy(bytes.subarray(at));
  }

  /** The next bytes that lie together, taken out; undefined when it is empty. */
  take(): Uint8Array | undefined {
    if (this.#length === 0) return undefined;
    const piece = this.#pieces[this.#head]!;
    this.#shift();
    this.#grow(-piece.length);
    return piece;
  }

  /** `length` bytes from `offset` on, which must be there. A copy only where they do not lie together. */
  peek(offset: number, length: number): Uint8Array {
    let index = this.#head;
    while (offset >= this.#pieces[index]!.length) offset -= this.#pieces[index++]!.length;
    const first = this.#pieces[index]!;
    if (offset + length <= first.length) return first.subarray(offset, offset + length);
    const bytes = new Uint8Array(length);
    for (let filled = 0; filled < length; offset = 0) {
      const part = this.#pieces[index++]!.subarray(offset, offset + length - filled);
      bytes.set(part, filled);
      filled += part.length;
    }
    return bytes;
  }

  /** Forgets the first `count` bytes, which must be there. */
  discard(count: number): void {
    this.#grow(-count);
    while (count > 0) {
      const piece = this.#pieces[this.#head]!;
      if (piece.length > count) {
        this.#pieces[this.#head] = piece.subarray(count);
        return;
      }
      count -= piece.length;
      this.#shift();
    }
  }

  clear(): void {
    this.#grow(-this.#length);
    this.#pieces = [];
    this.#head = 0;
    this.#block = undefined;
    this.#open = false;
  }

  /** How many bytes there was room for. */
  #copy(bytes: Uint8Array): number {
    if (this.#block === undefined || this.#filled === this.#block.length) this.#newBlock();
    const block = this.#block!;
    const count = Math.min(bytes.length, block.length - this.#filled);
    block.set(count === bytes.length ? bytes : bytes.subarray(0, count), this.#filled);
    if (this.#open) {
      const last = this.#pieces.length - 1;
      const start = this.#filled - this.#pieces[last]!.length;
      this.#pieces[last] = block.subarray(start, this.#filled + count);
    } else {
      this.#pieces.push(block.subarray(this.#filled, this.#filled + count));
      this.#open = true;
    }
    this.#filled += count;
    return count;
  }

  /** Larger each time: most connections are short. */
  #newBlock(): void {
    const size = Math.min(LARGEST_BLOCK, Math.max(SMALLEST_BLOCK, 2 * (this.#block?.length ?? 0)));
    // Not from Node's pool, of which one byte would hold 8 KiB.
    this.#block = Buffer.allocUnsafeSlow(size);
    this.#filled = 0;
    this.#open = false;
  }

  #shift(): void {
    this.#head++;
    if (this.#head < this.#pieces.length) {
      if (this.#head < 64) return;
      this.#pieces = this.#pieces.slice(this.#head);
    } else {
      this.#pieces = [];
      this.#open = false;
    }
    this.#head = 0;
  }

  #grow(count: number): void {
    this.#length += count;
    this.#meter.bytes += count;
  }
}
