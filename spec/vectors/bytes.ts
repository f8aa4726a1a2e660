/** Frames and CBOR built byte by byte for the vectors: the shortest code that follows the text of the protocol. */

export type CborValue =
  | number
  | bigint
  | string
  | boolean
  | null
  | Buffer
  | CborValue[]
  | { [key: string]: CborValue };

export const CONTROL = 1;
export const DATA = 2;
export const CREDIT = 3;

export const MAGIC = Buffer.from("004d53422d4147454e542d53594e430a", "hex");

/** A CBOR head: major type and argument in the shortest form (RFC 8949, section 3). */
export function head(major: number, argument: number | bigint): Buffer {
  const n = BigInt(argument);
  const first = major << 5;
  if (n < 24n) return Buffer.of(first | Number(n));
  if (n < 1n << 8n) return Buffer.of(first | 24, Number(n));
  const wide = Buffer.alloc(9);
  wide.writeBigUInt64BE(n, 1);
  const width = n < 1n << 16n ? 2 : n < 1n << 32n ? 4 : 8;
  return Buffer.concat([
    Buffer.of(first | (width === 2 ? 25 : width === 4 ? 26 : 27)),
    wide.subarray(9 - width),
  ]);
}

/** A value in CBOR; maps keep the order of their keys as given. */
export function cbor(value: CborValue): Buffer {
  if (value === null) return Buffer.of(0xf6);
  if (value === true) return Buffer.of(0xf5);
  if (value === false) return Buffer.of(0xf4);
  if (typeof value === "number" || typeof value === "bigint") {
    return value < 0 ? head(1, -1n - BigInt(value)) : head(0, value);
  }
  if (typeof value === "string") {
    const bytes = Buffer.from(value, "utf8");
    return Buffer.concat([head(3, bytes.length), bytes]);
  }
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(cbor)]);
  const entries = Object.entries(value);
  return Buffer.concat([head(5, entries.length), ...entries.flatMap(([k, v]) => [cbor(k), cbor(v)])]);
}

/** `value` as it stands in control.json: `$bytes` for byte strings, `$uint` for integers that JSON cannot hold. */
export function toJson(value: CborValue): unknown {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("hex") };
  if (typeof value === "bigint") {
    return value >= -(2n ** 53n - 1n) && value <= 2n ** 53n - 1n ? Number(value) : { $uint: String(value) };
  }
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, toJson(v)]));
  }
  return value;
}

export interface Frame {
  channel: number;
  type: number;
  stream: number;
  payload: Buffer;
}

/** Twelve bytes of header; nothing is checked, so that wrong ones can be made too. */
export function header(length: number, channel: number, type: number, stream: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt32BE(channel, 4);
  bytes[8] = type;
  bytes[9] = stream;
  let check = 0x4d53;
  for (let at = 0; at < 10; at += 2) check ^= bytes.readUInt16BE(at);
  bytes.writeUInt16BE(check, 10);
  return bytes;
}

export function encode(frame: Frame): Buffer {
  const { payload, channel, type, stream } = frame;
  return Buffer.concat([header(payload.length, channel, type, stream), payload, Buffer.of(0xa5)]);
}

export function control(channel: number, message: CborValue): Frame {
  return { channel, type: CONTROL, stream: 0, payload: cbor(message) };
}

export function data(channel: number, stream: number, payload: string | Buffer): Frame {
  return { channel, type: DATA, stream, payload: Buffer.from(payload) };
}

export function credit(
  channel: number,
  stream: number,
  acked: number | bigint,
  limit: number | bigint,
): Frame {
  const payload = Buffer.alloc(16);
  payload.writeBigUInt64BE(BigInt(acked), 0);
  payload.writeBigUInt64BE(BigInt(limit), 8);
  return { channel, type: CREDIT, stream, payload };
}

/** Bytes that look random and are the same on every run. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export function frameJson(frame: Frame): Record<string, unknown> {
  const { channel, type, stream, payload } = frame;
  return { channel, type, stream, payload: payload.toString("hex") };
}
