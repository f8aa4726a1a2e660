/**
 * IPv6 headers and extension headers (RFC 8200). Reading copies nothing and never throws. It goes through hop-by-hop options,
 * destination options, routing and fragment headers; authentication and encryption count as protocols that nobody here knows.
 * A routing header that still names stops makes a packet malformed (RFC 5095), as does an option that must not be passed over.
 * Bounds: 8 extension headers of 512 bytes in all; no jumbograms.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import { readUint16, readUint32, writeUint16, writeUint32 } from "./big-endian.ts";
import { type Fragment, IPV6_HEADER, type IpPacket } from "./ip-packet.ts";

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const EXTENSIONS = new Set([HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS]);
const NEXT_HEADER_AT = 6;
const EXTENSION_UNIT = 8;
const MAX_EXTENSIONS = 8;
const MAX_EXTENSION_BYTES = 512;
const PAD_ONE = 0;

export const FRAGMENT_HEADER = 8;

/** Undefined if it is malformed in a way of the above. What follows the packet is padding, and left out. */
export function parseIpv6(bytes: Uint8Array): IpPacket | undefined {
  if (bytes.length < IPV6_HEADER || bytes[0]! >>> 4 !== 6) return undefined;
  const length = IPV6_HEADER + readUint16(bytes, 4);
  if (length > bytes.length) return undefined;
  const packet = bytes.subarray(0, length);
  const chain = walk(packet);
  if (chain === undefined) return undefined;
  return {
    source: new IpAddress(bytes.subarray(8, 24)),
    destination: new IpAddress(bytes.subarray(24, IPV6_HEADER)),
    protocol: packet[chain.protocolAt]!,
    protocolAt: chain.protocolAt,
    hopLimit: bytes[7]!,
    header: packet.subarray(0, chain.end),
    payload: packet.subarray(chain.end),
    fragment: chain.fragment,
  };
}

interface Chain {
  protocolAt: number;
  /** Where the payload begins. */
  end: number;
  fragment: Fragment | undefined;
}

function walk(packet: Uint8Array): Chain | undefined {
  const chain: Chain = { protocolAt: NEXT_HEADER_AT, end: IPV6_HEADER, fragment: undefined };
  for (let count = 0; ; count++) {
    const kind = packet[chain.protocolAt]!;
    if (!EXTENSIONS.has(kind)) return chain;
    const start = chain.end;
    if (count === MAX_EXTENSIONS || start + EXTENSION_UNIT > packet.length) return undefined;
    if (kind === HOP_BY_HOP && count > 0) return undefined;
    const length = kind === FRAGMENT ? FRAGMENT_HEADER : (packet[start + 1]! + 1) * EXTENSION_UNIT;
    const end = start + length;
    if (end > packet.length || end - IPV6_HEADER > MAX_EXTENSION_BYTES) return undefined;
    chain.protocolAt = start;
    chain.end = end;
    if (kind === FRAGMENT) {
      chain.fragment = readFragment(packet, start);
      if (chain.fragment !== undefined) return chain;
    } else if (kind === ROUTING) {
      if (packet[start + 3] !== 0) return undefined;
    } else if (!mayPassOver(packet.subarray(start + 2, end))) return undefined;
  }
}

/** Undefined if the one piece is the whole (RFC 6946). */
function readFragment(packet: Uint8Array, at: number): Fragment | undefined {
  const field = readUint16(packet, at + 2);
  const offset = field & 0xfff8;
  const more = (field & 1) !== 0;
  if (offset === 0 && !more) return undefined;
  return { identification: readUint32(packet, at + 4), offset, more };
}

/** RFC 8200, 4.2: the two highest bits of an option's type say what is to be done by whom does not know it. */
function mayPassOver(options: Uint8Array): boolean {
  let at = 0;
  while (at < options.length) {
    const type = options[at]!;
    if (type === PAD_ONE) {
      at++;
      continue;
    }
    const length = options[at + 1];
    if (type >>> 6 !== 0 || length === undefined) return false;
    at += 2 + length;
  }
  return at === options.length;
}

export interface Ipv6Fields {
  source: IpAddress;
  destination: IpAddress;
  protocol: number;
  hopLimit: number;
  /** Bytes, with extension headers. */
  payloadLength: number;
}

/** Writes 40 bytes at `at`. Those bytes must be zero before. */
export function writeIpv6Header(into: Uint8Array, at: number, fields: Ipv6Fields): void {
  into[at] = 0x60;
  writeUint16(into, at + 4, fields.payloadLength);
  into[at + NEXT_HEADER_AT] = fields.protocol;
  into[at + 7] = fields.hopLimit;
  into.set(fields.source.bytes, at + 8);
  into.set(fields.destination.bytes, at + 24);
}

/** Writes 8 bytes at `at`: the header that goes before a piece. `protocol` is what the whole is. */
export function writeFragmentHeader(
  into: Uint8Array,
  at: number,
  protocol: number,
  fragment: Fragment,
): void {
  into[at] = protocol;
  into[at + 1] = 0;
  writeUint16(into, at + 2, fragment.offset | (fragment.more ? 1 : 0));
  writeUint32(into, at + 4, fragment.identification);
}
