import { randomBytes } from "node:crypto";
import { MAX_PAYLOAD } from "./frame.ts";
import { violation } from "./violation.ts";

/** The synchronizing sequence, the host's half. Source: spec/agent-protocol.md, "Synchronizing". */

export const MAGIC = Buffer.from("004d53422d4147454e542d53594e430a", "hex");
export const NONCE_BYTES = 16;
/** Most bytes of stale traffic before the host's own sequence: 8 MiB. */
export const MAX_STALE = 8 * 1024 * 1024;

export function newNonce(): Buffer {
  return randomBytes(NONCE_BYTES);
}

/**
 * What the host sends before its hello.
 *
 * @param filler true when an earlier host may have been cut off: enough zeros to complete, and so to spoil, the
 *   frame that it left unfinished
 */
export function syncSequence(nonce: Buffer, filler: boolean): Buffer {
  const zeros = filler ? MAX_PAYLOAD + 13 : 0;
  return Buffer.concat([Buffer.alloc(zeros), MAGIC, nonce]);
}

/** Drops what comes until MAGIC followed by the host's own nonce: stale bytes cannot contain that. */
export class SyncHunter {
  readonly #needle: Buffer;
  // The last bytes seen, at most one less than the needle has: it may span chunks.
  #tail: Buffer = Buffer.alloc(0);
  #skipped = 0;

  constructor(nonce: Buffer) {
    this.#needle = Buffer.concat([MAGIC, nonce]);
  }

  /** Bytes dropped so far. */
  get skipped(): number {
    return this.#skipped;
  }

  /**
   * @returns what follows the sequence in `chunk` (perhaps nothing), or undefined while it was not found
   * @throws SandboxError `internal` after 8 MiB of other bytes
   */
  push(chunk: Buffer): Buffer | undefined {
    const keep = this.#needle.length - 1;
    // Only the seam is joined, so that a stale stream costs no copy of itself.
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, keep)]);
    const atSeam = seam.indexOf(this.#needle);
    if (atSeam >= 0) {
      this.#skip(atSeam);
      return chunk.subarray(atSeam + this.#needle.length - this.#tail.length);
    }
    const at = chunk.indexOf(this.#needle);
    if (at >= 0) {
      this.#skip(this.#tail.length + at);
      return chunk.subarray(at + this.#needle.length);
    }
    const rest = chunk.length >= keep ? chunk : seam;
    const tail = Buffer.from(rest.subarray(Math.max(0, rest.length - keep)));
    this.#skip(this.#tail.length + chunk.length - tail.length);
    this.#tail = tail;
    return undefined;
  }

  #skip(bytes: number): void {
    this.#skipped += bytes;
    if (this.#skipped > MAX_STALE) throw violation("no answer to the hello in 8 MiB of other bytes");
  }
}
