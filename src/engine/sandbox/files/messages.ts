import { encodeCbor, violation } from "../../guest/index.ts";

/** Messages of the files process: a length of four bytes and one CBOR map (spec/agent-protocol.md, "files"). */

export const CHUNK_BYTES = 256 * 1024;
/** A chunk, and what stands around it. */
export const MAX_MESSAGE_BYTES = CHUNK_BYTES + 64 * 1024;
const HEAD_BYTES = 4;

export function encodeMessage(message: Record<string, unknown>): Buffer {
  const payload = encodeCbor(message);
  if (payload.length > MAX_MESSAGE_BYTES) throw new Error(`a message of ${payload.length} bytes`);
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(payload.length);
  return Buffer.concat([head, payload]);
}

/** Puts messages together from pieces; holds less than one message and one piece. */
export class MessageReader {
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Bytes from which on there is something to do. */
  #wanted = HEAD_BYTES;

  /**
   * @returns the messages that are whole now
   * @throws a violation for a length out of bounds; then it takes nothing more
   */
  push(piece: Buffer): Buffer[] {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes < this.#wanted) return [];
    const messages: Buffer[] = [];
    const all = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces);
    let at = 0;
    for (;;) {
      this.#wanted = HEAD_BYTES;
      if (all.length - at < HEAD_BYTES) break;
      const length = all.readUInt32BE(at);
      if (length === 0 || length > MAX_MESSAGE_BYTES) throw violation(`a message of ${length} bytes`);
      this.#wanted += length;
      if (all.length - at < this.#wanted) break;
      messages.push(all.subarray(at + HEAD_BYTES, at + this.#wanted));
      at += this.#wanted;
    }
    // A copy: the rest must not keep the buffer of all that came with it.
    this.#pieces = at === all.length ? [] : [Buffer.from(all.subarray(at))];
    this.#bytes = all.length - at;
    return messages;
  }
}
