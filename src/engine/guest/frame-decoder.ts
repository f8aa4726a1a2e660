import {
  CREDIT_BYTES,
  type Frame,
  FrameType,
  HEADER_BYTES,
  headerCheck,
  MAX_CHANNEL,
  MAX_PAYLOAD,
  StreamId,
  TRAILER,
} from "./frame.ts";
import { violation } from "./violation.ts";

/**
 * Makes frames of a byte stream that arrives in chunks of any size. Source: spec/agent-protocol.md, "Frames".
 *
 * Each byte is copied at most once: a payload that lies within one chunk is a view of it, one that spans several
 * is gathered in a buffer of its final size. It holds at most one unfinished payload (262,144 bytes).
 */
export class FrameDecoder {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerFill = 0;
  // The frame whose header was read; its payload is filled up to #payloadFill.
  #frame: Frame | undefined;
  #payloadFill = 0;

  /** Whether the stream is inside a frame now. */
  get midFrame(): boolean {
    return this.#frame !== undefined || this.#headerFill > 0;
  }

  /**
   * The frames that `chunk` completes, in order. A frame comes out only when its trailer was right.
   *
   * @throws SandboxError `internal` at a bad header or trailer, with `details.fault` naming which; the decoder is
   *   of no use afterwards.
   */
  *push(chunk: Buffer): Generator<Frame, void> {
    let at = 0;
    while (at < chunk.length) {
      let frame = this.#frame;
      if (frame === undefined) {
        const whole = this.#headerFill === 0 && chunk.length - at >= HEADER_BYTES;
        if (!whole) {
          const copied = chunk.copy(this.#header, this.#headerFill, at, at + HEADER_BYTES - this.#headerFill);
          this.#headerFill += copied;
          at += copied;
          if (this.#headerFill < HEADER_BYTES) return;
        }
        const length = whole ? readHeader(chunk, at) : readHeader(this.#header, 0);
        frame = whole ? makeFrame(chunk, at) : makeFrame(this.#header, 0);
        if (whole) at += HEADER_BYTES;
        this.#headerFill = 0;
        if (chunk.length - at > length) {
          frame.payload = chunk.subarray(at, at + length);
          checkTrailer(chunk[at + length]);
          at += length + 1;
          yield frame;
          continue;
        }
        // Not from Node's pool: a small view would keep a whole slab of it alive.
        frame.payload = Buffer.allocUnsafeSlow(length);
        this.#frame = frame;
        this.#payloadFill = 0;
      }
      if (this.#payloadFill < frame.payload.length) {
        const copied = chunk.copy(frame.payload, this.#payloadFill, at);
        this.#payloadFill += copied;
        at += copied;
      }
      if (at === chunk.length) return;
      checkTrailer(chunk[at]);
      at += 1;
      this.#frame = undefined;
      yield frame;
    }
  }
}

const nothing = Buffer.alloc(0);

/** Checks a header field by field and returns the payload's length. */
function readHeader(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at);
  const channel = bytes.readUInt32BE(at + 4);
  const type = bytes[at + 8]!;
  const stream = bytes[at + 9]!;
  if (bytes.readUInt16BE(at + 10) !== headerCheck(bytes, at)) throw badHeader("its check does not agree");
  if (length > MAX_PAYLOAD)
    throw badHeader(`a payload of ${length} bytes is above the bound of ${MAX_PAYLOAD}`);
  if (channel > MAX_CHANNEL) throw badHeader(`channel ${channel} is above the bound`);
  if (type < FrameType.control || type > FrameType.credit) throw badHeader(`there is no type ${type}`);
  if (stream > StreamId.stderr || (type === FrameType.control && stream !== 0)) {
    throw badHeader(`type ${type} has no stream ${stream}`);
  }
  if (type === FrameType.credit && length !== CREDIT_BYTES) throw badHeader(`a credit of ${length} bytes`);
  return length;
}

function makeFrame(header: Buffer, at: number): Frame {
  return {
    channel: header.readUInt32BE(at + 4),
    type: header[at + 8] as FrameType,
    stream: header[at + 9] as StreamId,
    payload: nothing,
  };
}

function badHeader(what: string) {
  return violation(`invalid frame header, ${what}`, { fault: "header" });
}

function checkTrailer(byte: number | undefined): void {
  if (byte !== TRAILER) throw violation("a frame does not end in its trailer", { fault: "trailer" });
}
