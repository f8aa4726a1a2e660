/**
 * IPv4 headers (RFC 791). Reading copies nothing and never throws. Options are passed over, but for those that say which way
 * a packet shall go: such packets count as malformed (RFC 7126, 4.3 and 4.4). Bounds: a header has at most 60 bytes.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import { readUint16, writeUint16 } from "./big-endian.ts";
import { checksumOf, onesSum } from "./checksum.ts";
import { IPV4_HEADER, type IpPacket } from "./ip-packet.ts";

const PROTOCOL_AT = 9;
const CHECKSUM_AT = 10;
const RESERVED = 0x8000;
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const OFFSET = 0x1fff;
const OFFSET_UNIT = 8;
const OPTION_END = 0;
const OPTION_NOTHING = 1;
const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;

/** Undefined if lengths or the checksum are wrong, or it is source-routed. What follows the packet is padding, and left out. */
export function parseIpv4(bytes: Uint8Array): IpPacket | undefined {
  if (bytes.length < IPV4_HEADER || bytes[0]! >>> 4 !== 4) return undefined;
  const headerLength = (bytes[0]! & 15) * 4;
  const length = readUint16(bytes, 2);
  if (headerLength < IPV4_HEADER || headerLength > length || length > bytes.length) return undefined;
  const header = bytes.subarray(0, headerLength);
  if (checksumOf(onesSum(header)) !== 0) return undefined;
  if (headerLength > IPV4_HEADER && isSourceRouted(header)) return undefined;
  const flags = readUint16(bytes, 6);
  if ((flags & RESERVED) !== 0) return undefined;
  const pieces = flags & (MORE_FRAGMENTS | OFFSET);
  return {
    source: new IpAddress(bytes.subarray(12, 16)),
    destination: new IpAddress(bytes.subarray(16, 20)),
    protocol: bytes[PROTOCOL_AT]!,
    protocolAt: PROTOCOL_AT,
    hopLimit: bytes[8]!,
    header,
    payload: bytes.subarray(headerLength, length),
    fragment:
      pieces === 0
        ? undefined
        : {
            identification: readUint16(bytes, 4),
            offset: (flags & OFFSET) * OFFSET_UNIT,
            more: (flags & MORE_FRAGMENTS) !== 0,
          },
  };
}

/** Also if options end in the middle of one: then nothing is known of them. */
function isSourceRouted(header: Uint8Array): boolean {
  let at = IPV4_HEADER;
  while (at < header.length) {
    const kind = header[at]!;
    if (kind === OPTION_END) return false;
    if (kind === LOOSE_SOURCE_ROUTE || kind === STRICT_SOURCE_ROUTE) return true;
    const length = kind === OPTION_NOTHING ? 1 : header[at + 1];
    if (length === undefined || length < 1 || (length < 2 && kind !== OPTION_NOTHING)) return true;
    at += length;
  }
  return at > header.length;
}

export interface Ipv4Fields {
  source: IpAddress;
  destination: IpAddress;
  protocol: number;
  hopLimit: number;
  /** Bytes. */
  payloadLength: number;
  /** Without one the packet is whole and is not to be cut by others. */
  fragment?: { identification: number; offset: number; more: boolean } | undefined;
}

/** Writes 20 bytes at `at`. Those bytes must be zero before. */
export function writeIpv4Header(into: Uint8Array, at: number, fields: Ipv4Fields): void {
  into[at] = 0x45;
  writeUint16(into, at + 2, IPV4_HEADER + fields.payloadLength);
  const { fragment } = fields;
  if (fragment === undefined) {
    writeUint16(into, at + 6, DONT_FRAGMENT);
  } else {
    writeUint16(into, at + 4, fragment.identification);
    writeUint16(into, at + 6, (fragment.more ? MORE_FRAGMENTS : 0) | (fragment.offset / OFFSET_UNIT));
  }
  into[at + 8] = fields.hopLimit;
  into[at + PROTOCOL_AT] = fields.protocol;
  into.set(fields.source.bytes, at + 12);
  into.set(fields.destination.bytes, at + 16);
  writeUint16(into, at + CHECKSUM_AT, checksumOf(onesSum(into.subarray(at, at + IPV4_HEADER))));
}
