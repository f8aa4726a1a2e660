import type { Frame, FrameType, StreamId } from "../frame.ts";

/**
 * A receiver as the guest has one, for tests: reads frames and hunts for MAGIC after an error. Written from the
 * text of spec/agent-protocol.md and apart from the host's decoder, as plainly as can be.
 */
export class HuntingReceiver {
  /** The nonce behind the last MAGIC whose hello was accepted. */
  nonce: Buffer | undefined;
  readonly #isHello: (frame: Frame) => boolean;
  #bytes: Buffer = Buffer.alloc(0);
  #state: "frames" | "hunting" | "first" = "frames";
  #newNonce: Buffer | undefined;

  constructor(isHello: (frame: Frame) => boolean) {
    this.#isHello = isHello;
  }

  /** The port says that the host has gone: the unfinished frame is dropped. */
  hostGone(): void {
    this.#bytes = Buffer.alloc(0);
    this.#state = "hunting";
  }

  /** The frames that are accepted now. */
  push(chunk: Buffer): Frame[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const accepted: Frame[] = [];
    for (;;) {
      if (this.#state === "hunting") {
        if (!this.#hunt()) return accepted;
      }
      const read = readFrame(this.#bytes);
      if (read === "more") return accepted;
      if (typeof read === "number") {
        this.#bytes = this.#bytes.subarray(read);
        this.#state = "hunting";
        continue;
      }
      this.#bytes = this.#bytes.subarray(12 + read.payload.length + 1);
      if (this.#state === "first") {
        if (!this.#isHello(read)) {
          this.#state = "hunting";
          continue;
        }
        this.#state = "frames";
        this.nonce = this.#newNonce;
      }
      accepted.push(read);
    }
  }

  #hunt(): boolean {
    const at = this.#bytes.indexOf("\0MSB-AGENT-SYNC\n", 0, "latin1");
    if (at < 0) {
      this.#bytes = this.#bytes.subarray(Math.max(0, this.#bytes.length - 15));
      return false;
    }
    if (this.#bytes.length < at + 32) return false;
    this.#newNonce = Buffer.from(this.#bytes.subarray(at + 16, at + 32));
    this.#bytes = this.#bytes.subarray(at + 32);
    this.#state = "first";
    return true;
  }
}

/** A frame, "more", or where the bytes that are not valid begin. */
function readFrame(bytes: Buffer): Frame | "more" | number {
  if (bytes.length < 12) return "more";
  const length = bytes.readUInt32BE(0);
  const channel = bytes.readUInt32BE(4);
  const type = bytes[8]!;
  const stream = bytes[9]!;
  let check = 0x4d53;
  for (let at = 0; at < 10; at += 2) check ^= bytes.readUInt16BE(at);
  const valid =
    bytes.readUInt16BE(10) === check &&
    length <= 262_144 &&
    channel < 2 ** 31 &&
    type >= 1 &&
    type <= 3 &&
    stream <= (type === 1 ? 0 : 2) &&
    (type !== 3 || length === 16);
  if (!valid) return 0;
  if (bytes.length < 12 + length + 1) return "more";
  if (bytes[12 + length] !== 0xa5) return 12 + length;
  const payload = Buffer.from(bytes.subarray(12, 12 + length));
  return { channel, type: type as FrameType, stream: stream as StreamId, payload };
}
