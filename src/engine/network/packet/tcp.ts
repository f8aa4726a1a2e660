/**
 * TCP segments as bytes (RFC 9293 section 3.1). Reading takes whatever a guest sends, copies nothing (payload and options
 * are parts of the segment given) and never throws; what is malformed is undefined. Bounds: the header is
 * at most 60 bytes, so there are at most 40 bytes of options.
 */
import type { IpAddress } from "../../../contract/ip-address.ts";
import { checksumOf, onesSum, pseudoHeaderSum } from "./checksum.ts";

export const TCP_PROTOCOL = 6;
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

const SHORTEST_HEADER = 20;
const CHECKSUM_AT = 16;

/** Option kinds (IANA, "TCP Parameters"). */
const END = 0;
const NO_OPERATION = 1;
const MAXIMUM_SEGMENT_SIZE = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const TIMESTAMPS = 8;
/** RFC 7323 section 2.3: a larger one counts as 14. */
const LARGEST_SCALE = 14;

export interface TcpHeader {
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgment: number;
  flags: number;
  /** The field as it stands there, not scaled. */
  window: number;
}

export interface TcpSegment extends TcpHeader {
  /** Not read yet: only a SYN's are needed. See `parseTcpOptions`. */
  options: Uint8Array;
  payload: Uint8Array;
}

export interface TcpOptions {
  maximumSegmentSize?: number;
  windowScale?: number;
  sackPermitted?: boolean;
  timestamps?: { value: number; echo: number };
}

/** Undefined if the header is cut off or its length is impossible. The checksum is not looked at. */
export function parseTcp(bytes: Uint8Array): TcpSegment | undefined {
  if (bytes.length < SHORTEST_HEADER) return undefined;
  const headerLength = (bytes[12]! >>> 4) * 4;
  if (headerLength < SHORTEST_HEADER || headerLength > bytes.length) return undefined;
  return {
    sourcePort: (bytes[0]! << 8) | bytes[1]!,
    destinationPort: (bytes[2]! << 8) | bytes[3]!,
    sequence: readUint32(bytes, 4),
    acknowledgment: readUint32(bytes, 8),
    flags: bytes[13]!,
    window: (bytes[14]! << 8) | bytes[15]!,
    options: bytes.subarray(SHORTEST_HEADER, headerLength),
    payload: bytes.subarray(headerLength),
  };
}

/** Whether the checksum of a whole segment is right. */
export function tcpChecksumHolds(from: IpAddress, to: IpAddress, bytes: Uint8Array): boolean {
  return checksumOf(pseudoHeaderSum(from, to, TCP_PROTOCOL, bytes.length) + onesSum(bytes)) === 0;
}

/**
 * What is known of a segment's options. Unknown ones are passed over; from the first malformed one on, nothing more is read
 * (RFC 9293 section 3.2), and what came before it counts.
 */
export function parseTcpOptions(bytes: Uint8Array): TcpOptions {
  const options: TcpOptions = {};
  let at = 0;
  while (at < bytes.length) {
    const kind = bytes[at]!;
    if (kind === END) break;
    if (kind === NO_OPERATION) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || length < 2 || at + length > bytes.length) break;
    readOption(options, kind, bytes.subarray(at + 2, at + length));
    at += length;
  }
  return options;
}

function readOption(options: TcpOptions, kind: number, value: Uint8Array): void {
  if (kind === MAXIMUM_SEGMENT_SIZE && value.length === 2)
    options.maximumSegmentSize = (value[0]! << 8) | value[1]!;
  else if (kind === WINDOW_SCALE && value.length === 1)
    options.windowScale = Math.min(value[0]!, LARGEST_SCALE);
  else if (kind === SACK_PERMITTED && value.length === 0) options.sackPermitted = true;
  else if (kind === TIMESTAMPS && value.length === 8)
    options.timestamps = { value: readUint32(value, 0), echo: readUint32(value, 4) };
}

/** The header of a segment with its checksum, which `payload` is part of. Options are those that we send: in a SYN. */
export function buildTcpHeader(
  from: IpAddress,
  to: IpAddress,
  header: TcpHeader,
  payload: Uint8Array,
  options?: Pick<TcpOptions, "maximumSegmentSize" | "windowScale">,
): Uint8Array {
  const optionBytes = options === undefined ? [] : buildOptions(options);
  const length = SHORTEST_HEADER + optionBytes.length;
  const bytes = new Uint8Array(length);
  bytes[0] = header.sourcePort >>> 8;
  bytes[1] = header.sourcePort;
  bytes[2] = header.destinationPort >>> 8;
  bytes[3] = header.destinationPort;
  writeUint32(bytes, 4, header.sequence);
  writeUint32(bytes, 8, header.acknowledgment);
  bytes[12] = (length / 4) << 4;
  bytes[13] = header.flags;
  bytes[14] = header.window >>> 8;
  bytes[15] = header.window;
  if (optionBytes.length > 0) bytes.set(optionBytes, SHORTEST_HEADER);
  const pseudo = pseudoHeaderSum(from, to, TCP_PROTOCOL, length + payload.length);
  const checksum = checksumOf(pseudo + onesSum(bytes) + onesSum(payload));
  bytes[CHECKSUM_AT] = checksum >>> 8;
  bytes[CHECKSUM_AT + 1] = checksum;
  return bytes;
}

/** Padded to whole words. */
function buildOptions({ maximumSegmentSize, windowScale }: TcpOptions): number[] {
  const bytes: number[] = [];
  if (maximumSegmentSize !== undefined)
    bytes.push(MAXIMUM_SEGMENT_SIZE, 4, maximumSegmentSize >>> 8, maximumSegmentSize & 0xff);
  if (windowScale !== undefined) bytes.push(NO_OPERATION, WINDOW_SCALE, 3, windowScale);
  return bytes;
}

function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
