/**
 * Frames on their way into a byte stream, in QEMU's framing. Small parts are copied together, so that a run of acknowledgments is one
 * write; large ones are handed on as they are. Bounds: none of its own, see `bytes`.
 */
import { writeUint32 } from "../packet/big-endian.ts";
import { LENGTH_BYTES } from "./frame-reader.ts";

/** From this size on a part is not copied: about where a copy costs what a part of its own costs in a write. */
const OWN_WRITE = 4096;
const BUFFER_BYTES = 32 * 1024;

export class FrameBatch {
  /** Waiting, lengths included. */
  bytes = 0;
  #chunks: Uint8Array[] = [];
  #buffer = new Uint8Array(BUFFER_BYTES);
  /** Of the buffer: where what is not in `#chunks` yet begins and ends. Nothing before is written again. */
  #start = 0;
  #end = 0;

  /** The parts of one frame. Large ones may not be changed after. */
  add(parts: readonly Uint8Array[]): void {
    let length = 0;
    for (const part of parts) length += part.length;
    this.#room(LENGTH_BYTES);
    writeUint32(this.#buffer, this.#end, length);
    this.#end += LENGTH_BYTES;
    for (const part of parts) {
      if (part.length >= OWN_WRITE) {
        this.#cut();
        this.#chunks.push(part);
      } else {
        this.#room(part.length);
        this.#buffer.set(part, this.#end);
        this.#end += part.length;
      }
    }
    this.bytes += LENGTH_BYTES + length;
  }

  /** All that waits, in order. */
  take(): Uint8Array[] {
    this.#cut();
    const chunks = this.#chunks;
    this.#chunks = [];
    this.bytes = 0;
    return chunks;
  }

  #room(length: number): void {
    if (this.#end + length <= BUFFER_BYTES) return;
    this.#cut();
    this.#buffer = new Uint8Array(BUFFER_BYTES);
    this.#start = 0;
    this.#end = 0;
  }

  #cut(): void {
    if (this.#start < this.#end) this.#chunks.push(this.#buffer.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }
}
