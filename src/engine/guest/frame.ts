/**
 * Frames of the agent protocol, the sender's half and what both halves share. Source: spec/agent-protocol.md,
 * "Frames".
 */

/** Most bytes that a frame's payload may have. */
export const MAX_PAYLOAD = 262_144;
/** Most bytes of data that we put into one frame, so that other channels get their turn. */
export const DATA_FRAME_BYTES = 65_536;
export const MAX_CHANNEL = 2 ** 31 - 1;
export const HEADER_BYTES = 12;
export const TRAILER = 0xa5;

export const FrameType = { control: 1, data: 2, credit: 3 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export const StreamId = { stdin: 0, stdout: 1, stderr: 2 } as const;
export type StreamId = (typeof StreamId)[keyof typeof StreamId];

export interface Frame {
  /** 0 is the connection, 1 … 2^31−1 are processes. */
  channel: number;
  type: FrameType;
  stream: StreamId;
  payload: Buffer;
}

const CHECK_SEED = 0x4d53;
// Below this a copy costs less than one more entry of a writev.
const COPY_BELOW = 2_048;
const trailer = Buffer.of(TRAILER);

/** `check` of a header: the seed XOR each of the five 16-bit words before it. */
export function headerCheck(bytes: Buffer, at: number): number {
  return (
    CHECK_SEED ^
    bytes.readUInt16BE(at) ^
    bytes.readUInt16BE(at + 2) ^
    bytes.readUInt16BE(at + 4) ^
    bytes.readUInt16BE(at + 6) ^
    bytes.readUInt16BE(at + 8)
  );
}

/**
 * A frame as buffers to write one behind the other. A large payload is not copied: it must not be changed until
 * it is written.
 */
export function encodeFrame(frame: Frame): Buffer[] {
  const { channel, type, stream, payload } = frame;
  const small = payload.length < COPY_BELOW;
  const head = Buffer.allocUnsafe(small ? HEADER_BYTES + payload.length + 1 : HEADER_BYTES);
  head.writeUInt32BE(payload.length, 0);
  head.writeUInt32BE(channel, 4);
  head[8] = type;
  head[9] = stream;
  head.writeUInt16BE(headerCheck(head, 0), 10);
  if (!small) return [head, payload, trailer];
  payload.copy(head, HEADER_BYTES);
  head[head.length - 1] = TRAILER;
  return [head];
}

/** What a credit frame says of one stream. Offsets count bytes since the process's start. */
export interface Credit {
  /** The sender may forget what lies below. */
  acked: number;
  /** The sender may send what lies below. */
  limit: number;
}

export const CREDIT_BYTES = 16;
/** Most bytes that `limit` may be ahead of `acked`. */
export const MAX_CREDIT = 16 * 1024 * 1024;

export function encodeCredit(credit: Credit): Buffer {
  const payload = Buffer.allocUnsafe(CREDIT_BYTES);
  payload.writeBigUInt64BE(BigInt(credit.acked), 0);
  payload.writeBigUInt64BE(BigInt(credit.limit), 8);
  return payload;
}

/** Reads a credit's payload of 16 bytes; undefined when an offset is beyond 2^53−1 or the two contradict. */
export function decodeCredit(payload: Buffer): Credit | undefined {
  const acked = Number(payload.readBigUInt64BE(0));
  const limit = Number(payload.readBigUInt64BE(8));
  // Number() rounds, but never from above 2^53−1 to below it.
  if (limit > Number.MAX_SAFE_INTEGER || acked > limit || limit - acked > MAX_CREDIT) return undefined;
  return { acked, limit };
}
