/**
 * WebSocket frames (RFC 6455, section 5) as a client of our own daemon needs them: no extensions, no fragments.
 *
 * The `ws` package would do it too, and does in the daemon. But loading it, with the TLS and zlib it brings, costs 20 ms, and `msb run`
 * pays that before its sandbox starts.
 */

export const OPCODE = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
export type Opcode = (typeof OPCODE)[keyof typeof OPCODE];

const FIN = 0x80;
const MASKED = 0x80;

/**
 * A frame from client to server. It must have a mask; ours is zero, which leaves the bytes as they are: masks protect proxies from
 * hostile web pages (section 10.3), and a unix socket has neither.
 *
 * @param parts payload, in pieces
 */
export function encodeFrame(opcode: Opcode, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const extended = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const head = 2 + extended + 4;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = FIN | opcode;
  frame[1] = MASKED | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) frame.writeUInt16BE(length, 2);
  else if (extended === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.writeUInt32BE(0, head - 4);
  let at = head;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/** Takes frames from server to client out of a byte stream, however it is cut. */
export class FrameDecoder {
  readonly #maxPayload: number;
  readonly #onFrame: (opcode: Opcode, payload: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  /** @param maxPayload larger payloads are an error, so that memory stays bounded */
  constructor(maxPayload: number, onFrame: (opcode: Opcode, payload: Buffer) => void) {
    this.#maxPayload = maxPayload;
    this.#onFrame = onFrame;
  }

  /** @throws Error if the bytes are no frames, or not such as the daemon sends */
  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const size = this.#take(bytes);
      if (size === 0) break;
      bytes = bytes.subarray(size);
    }
    this.#rest = bytes;
  }

  /** @returns the size of the frame that was taken, 0 if there is none yet */
  #take(bytes: Buffer): number {
    if (bytes.length < 2) return 0;
    const first = bytes[0]!;
    const second = bytes[1]!;
    const opcode = first & 0x0f;
    if ((first & 0xf0) !== FIN || !KNOWN.has(opcode)) {
      throw new Error(`a WebSocket frame that the daemon never sends: 0x${first.toString(16)}`);
    }
    if (second >= MASKED) throw new Error("a masked WebSocket frame from a server");
    const extended = second === 126 ? 2 : second === 127 ? 8 : 0;
    const head = 2 + extended;
    if (bytes.length < head) return 0;
    const length =
      extended === 0 ? second : extended === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    if (length > this.#maxPayload) throw new Error(`a WebSocket frame of ${length} bytes`);
    if (bytes.length < head + length) return 0;
    this.#onFrame(opcode as Opcode, bytes.subarray(head, head + length));
    return head + length;
  }
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(OPCODE));
