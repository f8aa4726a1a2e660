/**
 * Reads exact numbers of bytes from a stream of chunks of any size, and counts and hashes all that pass.
 *
 * A view is handed out wherever the bytes lie in one chunk; only what straddles two chunks is copied. A
 * returned buffer is valid until the next read.
 */

import { createHash } from "node:crypto";
import { SandboxError } from "../contract/errors.ts";

/** Looks on as bytes are read or skipped. */
export interface Tap {
  /** All bytes that pass, in order; a view is valid until this returns. */
  take(bytes: Buffer): void;
  /** Is waited for before more is fetched from the source. */
  drained(): Promise<void>;
}

export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #maxBytes: number;
  readonly #hash = createHash("sha256");
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  #received = 0;
  #ended = false;
  tap: Tap | undefined;

  /** `maxBytes`: more than this many bytes are `invalid_argument`. */
  constructor(source: AsyncIterable<Uint8Array>, maxBytes: number) {
    this.#source = source[Symbol.asyncIterator]();
    this.#maxBytes = maxBytes;
  }

  /** Bytes handed out or skipped so far. */
  get position(): number {
    return this.#received - this.#rest;
  }

  /** Bytes of the current chunk that have not been read. */
  get #rest(): number {
    return this.#chunk.length - this.#at;
  }

  async #next(): Promise<boolean> {
    if (this.tap !== undefined) await this.tap.drained();
    while (!this.#ended) {
      const { done, value } = await this.#source.next();
      if (done) {
        this.#ended = true;
        break;
      }
      if (value.length === 0) continue;
      this.#received += value.length;
      if (this.#received > this.#maxBytes) {
        throw new SandboxError("invalid_argument", `the archive is larger than ${this.#maxBytes} bytes`, {
          hint: "Raise the store's limit for the size of a layer if this archive is to be trusted.",
        });
      }
      this.#hash.update(value);
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.length);
      this.#at = 0;
      return true;
    }
    this.#chunk = Buffer.alloc(0);
    this.#at = 0;
    return false;
  }

  /** The next `size` bytes of the current chunk. */
  #take(size: number): Buffer {
    const view = this.#chunk.subarray(this.#at, this.#at + size);
    this.#at += size;
    this.tap?.take(view);
    return view;
  }

  /** `size` bytes, or undefined when the stream ends before the first of them. */
  async readUnlessEnd(size: number): Promise<Buffer | undefined> {
    if (this.#rest === 0 && size > 0 && !(await this.#next())) return undefined;
    return this.read(size);
  }

  /** Exactly `size` bytes; `invalid_argument` when the stream ends before. Bound `size` before you call. */
  async read(size: number): Promise<Buffer> {
    if (size <= this.#rest) return this.#take(size);
    const joined = Buffer.allocUnsafe(size);
    let filled = 0;
    while (filled < size) filled += (await this.piece(size - filled)).copy(joined, filled);
    return joined;
  }

  /** The next piece of at most `most` bytes, at least one; `invalid_argument` at the stream's end. */
  async piece(most: number): Promise<Buffer> {
    if (this.#rest === 0 && !(await this.#next())) throw this.#truncated();
    return this.#take(Math.min(most, this.#rest));
  }

  /** Leaves out `size` bytes; `invalid_argument` when the stream ends before. */
  async skip(size: number): Promise<void> {
    for (let left = size; left > 0; ) left -= (await this.piece(left)).length;
  }

  /** Reads to the end of the stream. */
  async drain(): Promise<void> {
    do this.#take(this.#rest);
    while (await this.#next());
  }

  /** Lets the source go; needed when the stream is left before its end. */
  async close(): Promise<void> {
    this.#ended = true;
    await this.#source.return?.();
  }

  /** The sha256 of all bytes, in hex. Only after the end, and once. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  #truncated(): SandboxError {
    return new SandboxError(
      "invalid_argument",
      `the archive ends in the middle, after ${this.#received} bytes`,
      {
        hint: "The file or the transfer is cut off. Fetch it again.",
      },
    );
  }
}
