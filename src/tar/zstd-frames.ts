/**
 * Cuts a zstd stream into its frames.
 *
 * A zstd file may be several frames in a row, and skippable ones between them; pzstd and the "zstd:chunked" layers
 * of podman are. Node's decoder stops after the first frame and silently drops the rest, so each frame must get
 * a decoder of its own. Finding where a frame ends needs only its block headers. Format: RFC 8878, section 3.1.
 */

import { SandboxError } from "../contract/errors.ts";

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50; // to …5f
// A raw or compressed block has at most 128 KiB (RFC 8878, 3.1.1.2.4).
const MAX_BLOCK_BYTES = 128 * 1024;

/** What a stream is made of, in order. A frame's bytes come in pieces between its start and its end. */
export type FramePart = { kind: "data"; bytes: Uint8Array } | { kind: "end" };

type Step =
  | "magic"
  | "skipSize"
  | "descriptor"
  | "header"
  | "block"
  | "body"
  | "lastBody"
  | "checksum"
  | "skip";

export class ZstdFrameSplitter {
  #step: Step = "magic";
  /** Bytes of the current field that are still to come. */
  #left = 4;
  #field: number[] = [];
  #hasChecksum = false;

  /** True where the stream may end: between two frames. */
  get complete(): boolean {
    return this.#step === "magic" && this.#field.length === 0;
  }

  /** The parts that `chunk` brings. Errors: `invalid_argument`. */
  *push(chunk: Uint8Array): Generator<FramePart> {
    let from = 0; // first byte of the frame in hand that has not been passed on
    let at = 0;
    while (at < chunk.length || this.#left === 0) {
      const take = Math.min(this.#left, chunk.length - at);
      const isField = this.#step !== "body" && this.#step !== "lastBody" && this.#step !== "skip";
      if (isField) for (let i = 0; i < take; i++) this.#field.push(chunk[at + i]!);
      at += take;
      this.#left -= take;
      if (this.#left > 0) break;
      const wasSkipping = this.#step === "skip" || this.#step === "skipSize";
      const ended = this.#advance();
      if (wasSkipping || this.#step === "skipSize") {
        from = at;
      } else if (ended) {
        yield* data(chunk, from, at);
        yield { kind: "end" };
        from = at;
      }
      // The magic has been held back until it was clear whose it is.
      if (this.#step === "descriptor") {
        yield { kind: "data", bytes: MAGIC_BYTES };
        from = at;
      }
    }
    const passing = this.#step !== "magic" && this.#step !== "skip" && this.#step !== "skipSize";
    if (passing) yield* data(chunk, from, at);
  }

  /** Ends the field in hand and opens the next one; true when that ended a frame of data. */
  #advance(): boolean {
    const field = this.#field;
    this.#field = [];
    switch (this.#step) {
      case "magic": {
        const magic = littleEndian(field);
        if (magic === FRAME_MAGIC) this.#open("descriptor", 1);
        else if (magic >= SKIPPABLE_MAGIC && magic <= SKIPPABLE_MAGIC + 15) this.#open("skipSize", 4);
        else
          throw new SandboxError(
            "invalid_argument",
            "the zstd data is damaged: no frame where one should be",
          );
        return false;
      }
      case "skipSize":
        this.#open("skip", littleEndian(field));
        return false;
      case "skip":
        this.#open("magic", 4);
        return false;
      case "descriptor": {
        const descriptor = field[0]!;
        this.#hasChecksum = (descriptor & 4) !== 0;
        const singleSegment = (descriptor & 0x20) !== 0;
        const contentSize = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
        this.#open("header", (singleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + contentSize);
        return false;
      }
      case "header":
        this.#open("block", 3);
        return false;
      case "block": {
        const header = littleEndian(field);
        const isRepeat = ((header >> 1) & 3) === 1;
        const size = header >> 3;
        if (size > MAX_BLOCK_BYTES) throw new SandboxError("invalid_argument", "the zstd data is damaged");
        this.#open((header & 1) === 1 ? "lastBody" : "body", isRepeat ? 1 : size);
        return false;
      }
      case "body":
        this.#open("block", 3);
        return false;
      case "lastBody":
        if (this.#hasChecksum) {
          this.#open("checksum", 4);
          return false;
        }
        this.#open("magic", 4);
        return true;
      case "checksum":
        this.#open("magic", 4);
        return true;
    }
  }

  #open(step: Step, bytes: number): void {
    this.#step = step;
    this.#left = bytes;
  }
}

const MAGIC_BYTES = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

function* data(chunk: Uint8Array, from: number, to: number): Generator<FramePart> {
  if (to > from) yield { kind: "data", bytes: chunk.subarray(from, to) };
}

function littleEndian(bytes: number[]): number {
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}
