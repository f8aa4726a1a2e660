/**
 * ICMP and ICMPv6 messages (RFC 792, RFC 4443): both are a type, a code, a checksum, four bytes that depend on the type, and a body. They
 * differ in their numbers, and in that ICMPv6 sums a pseudo header. Bounds: reading takes at least 8 bytes and copies none.
 */
import type { IpAddress } from "../../../contract/ip-address.ts";
import { writeUint16, writeUint32 } from "./big-endian.ts";
import { checksumOf, onesSum, pseudoHeaderSum } from "./checksum.ts";
import { IPV4_HEADER, IPV6_HEADER, type IpPacket, PROTOCOL } from "./ip-packet.ts";

export const ICMP_HEADER = 8;
const CHECKSUM_AT = 2;

/** Types of one version; the same names in both. */
export interface IcmpTypes {
  unreachable: number;
  timeExceeded: number;
  parameterProblem: number;
  echoRequest: number;
  echoReply: number;
}

export const ICMP_TYPE: Record<4 | 6, IcmpTypes> = {
  4: { unreachable: 3, timeExceeded: 11, parameterProblem: 12, echoRequest: 8, echoReply: 0 },
  6: { unreachable: 1, timeExceeded: 3, parameterProblem: 4, echoRequest: 128, echoReply: 129 },
};

/** Why something cannot be reached. */
export type Unreachable = "network" | "host" | "port" | "protocol" | "prohibited";

/**
 * Codes of "destination unreachable" (RFC 792, RFC 1812 section 5.2.7.1; RFC 4443 section 3.1). IPv6 says of a protocol nobody knows
 * that the packet has a parameter problem.
 */
export const UNREACHABLE_CODE: Record<4 | 6, Record<Unreachable, number>> = {
  4: { network: 0, host: 1, protocol: 2, port: 3, prohibited: 13 },
  6: { network: 0, host: 3, protocol: 1, port: 4, prohibited: 1 },
};

/** How long an error may be as an IP packet: what every host takes in one piece (RFC 1812, 4.3.2.3; RFC 4443, 2.4). */
const LARGEST_ERROR = { 4: 576, 6: 1280 };

export interface IcmpMessage {
  type: number;
  code: number;
  /** All after the checksum: what depends on the type, then the body. At least four bytes. */
  rest: Uint8Array;
}

/** Undefined if it is cut off or its checksum is wrong. */
export function parseIcmp(packet: IpPacket): IcmpMessage | undefined {
  const { payload } = packet;
  if (payload.length < ICMP_HEADER) return undefined;
  if (checksumOf(onesSum(payload) + pseudo(packet.source, packet.destination, payload.length)) !== 0)
    return undefined;
  return { type: payload[0]!, code: payload[1]!, rest: payload.subarray(4) };
}

/** A whole message; its checksum is for this sender and this receiver. */
export function buildIcmp(from: IpAddress, to: IpAddress, message: IcmpMessage): Uint8Array {
  const bytes = new Uint8Array(4 + message.rest.length);
  bytes[0] = message.type;
  bytes[1] = message.code;
  bytes.set(message.rest, 4);
  writeUint16(bytes, CHECKSUM_AT, checksumOf(onesSum(bytes) + pseudo(from, to, bytes.length)));
  return bytes;
}

/** As much of a packet as an error about it may quote: a copy, headers first. */
export function quoteOf(packet: IpPacket): Uint8Array {
  const room =
    packet.source.version === 4
      ? LARGEST_ERROR[4] - IPV4_HEADER - ICMP_HEADER
      : LARGEST_ERROR[6] - IPV6_HEADER - ICMP_HEADER;
  const length = Math.min(room, packet.header.length + packet.payload.length);
  const quote = new Uint8Array(length);
  quote.set(packet.header.subarray(0, length), 0);
  const left = length - packet.header.length;
  if (left > 0) quote.set(packet.payload.subarray(0, left), packet.header.length);
  return quote;
}

/** What follows the header of an error: a pointer to the octet in question (ICMPv6 parameter problems), else 0; then the quote. */
export function errorBody(quote: Uint8Array, pointer = 0): Uint8Array {
  const rest = new Uint8Array(4 + quote.length);
  writeUint32(rest, 0, pointer);
  rest.set(quote, 4);
  return rest;
}

/** Errors, in answer to which no error is sent; unknown types too, to be safe. */
export function mayBeAnsweredWithError(packet: IpPacket): boolean {
  if (packet.protocol === PROTOCOL.icmp) {
    const type = packet.payload[0];
    return type === ICMP_TYPE[4].echoRequest || type === ICMP_TYPE[4].echoReply;
  }
  return packet.protocol !== PROTOCOL.icmpv6 || (packet.payload[0] ?? 0) >= 128;
}

function pseudo(from: IpAddress, to: IpAddress, length: number): number {
  return from.version === 4 ? 0 : pseudoHeaderSum(from, to, PROTOCOL.icmpv6, length);
}
