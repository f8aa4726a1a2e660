/**
 * The Internet checksum (RFC 1071), which every byte to and from a guest passes through: so it is read four bytes at a
 * time, in the machine's own byte order, and turned at the end. The sum of words does not mind the order of
 * bytes as long as all words have the same one (section 2(B)).
 */
import { endianness } from "node:os";
import type { IpAddress } from "../../../contract/ip-address.ts";

const LITTLE_ENDIAN = endianness() === "LE";
/** Making a view costs more than summing a small packet; packets mostly follow each other in one buffer. */
let viewed: ArrayBufferLike = new ArrayBuffer(0);
let words: Uint32Array = new Uint32Array(viewed);
const SHORT = 40;

/** The folded sum (16 bits) of big-endian words; an odd last byte is a high one. To be added up with others. */
export function onesSum(bytes: Uint8Array): number {
  if (bytes.length < SHORT) return sumBytes(bytes, 0, bytes.length);
  const odd = bytes.byteOffset & 1;
  const sum = sumAligned(bytes, odd);
  return odd === 0 ? sum : fold((bytes[0]! << 8) + turn(sum));
}

/** The field's value for sums that were added up: 0 to 0xffff. */
export function checksumOf(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** What TCP, UDP and ICMPv6 sum besides their own bytes (RFC 9293 section 3.1, RFC 8200 section 8.1). */
export function pseudoHeaderSum(from: IpAddress, to: IpAddress, protocol: number, length: number): number {
  return onesSum(from.bytes) + onesSum(to.bytes) + protocol + (length >>> 16) + (length & 0xffff);
}

/** Carries are added back until 16 bits are left. */
function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

function turn(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}

function sumBytes(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  let i = start;
  for (; i + 1 < end; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  if (i < end) sum += bytes[i]! << 8;
  return fold(sum);
}

/** From `start`, which lies at an even place of the buffer. */
function sumAligned(bytes: Uint8Array, start: number): number {
  let sum = 0;
  if (((bytes.byteOffset + start) & 2) !== 0) {
    sum = (bytes[start]! << 8) | bytes[start + 1]!;
    start += 2;
  }
  if (bytes.buffer !== viewed) {
    viewed = bytes.buffer;
    words = new Uint32Array(viewed, 0, viewed.byteLength >>> 2);
  }
  const first = (bytes.byteOffset + start) >>> 2;
  const count = (bytes.length - start) >>> 2;
  // Two sums stay small integers for the longest packet there is; one would not.
  let low = 0;
  let high = 0;
  for (let i = first; i < first + count; i++) {
    const word = words[i]!;
    low += word & 0xffff;
    high += word >>> 16;
  }
  const middle = fold(low + high);
  sum += LITTLE_ENDIAN ? turn(middle) : middle;
  return fold(sum + sumBytes(bytes, start + 4 * count, bytes.length));
}
