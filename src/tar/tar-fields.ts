/**
 * The fields of a 512-byte tar header, and the numbers in them.
 * Formats: POSIX.1-2017 pax (ustar), and GNU tar's manual, appendix "Tar Internals".
 */

import { SandboxError } from "../contract/errors.ts";
import { type ByteString, fromBytes } from "./byte-string.ts";
import { MAX_FILE_BYTES } from "./limits.ts";

export const BLOCK_BYTES = 512;

export interface RawHeader {
  path: ByteString;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeSeconds: number;
  typeflag: string;
  linkTarget: ByteString;
  deviceMajor: number;
  deviceMinor: number;
  /** The whole block, for the fields of GNU sparse headers; a copy. */
  block: Buffer;
}

/** True for a block of zeros, two of which end an archive. */
export function isZeroBlock(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0);
}

/** Decodes a header. `where` names the place for errors (`invalid_argument`). */
export function parseHeader(block: Buffer, where: string): RawHeader {
  checkSum(block, where);
  const name = text(block, 0, 100);
  const magic = block.toString("latin1", 257, 265);
  const number = (at: number, length: number, field: string) => parseNumber(block, at, length, field, where);
  const isUstar = magic.startsWith("ustar\0");
  // star's format keeps two times where ustar's prefix ends.
  const prefixBytes = block.toString("latin1", 508, 512) === "tar\0" ? 131 : 155;
  const prefix = isUstar ? text(block, 345, prefixBytes) : "";
  const hasDevices = isUstar || magic.startsWith("ustar ");
  const typeflag = String.fromCharCode(block[156]!);
  return {
    path: prefix === "" ? name : `${prefix}/${name}`,
    mode: number(100, 8, "mode"),
    uid: number(108, 8, "uid"),
    gid: number(116, 8, "gid"),
    size: number(124, 12, "size"),
    mtimeSeconds: number(136, 12, "mtime"),
    typeflag,
    linkTarget: text(block, 157, 100),
    deviceMajor: hasDevices && isDevice(typeflag) ? number(329, 8, "device number") : 0,
    deviceMinor: hasDevices && isDevice(typeflag) ? number(337, 8, "device number") : 0,
    block: Buffer.from(block),
  };
}

const isDevice = (typeflag: string) => typeflag === "3" || typeflag === "4";

/** The bytes of a field up to its first NUL. */
export function text(block: Buffer, at: number, length: number): ByteString {
  const end = block.indexOf(0, at);
  return fromBytes(block.subarray(at, end === -1 || end > at + length ? at + length : end));
}

/**
 * A number in octal digits, or in base 256 when the first byte's top bit is set (GNU, star): big-endian, two's
 * complement. An empty field is 0.
 */
export function parseNumber(block: Buffer, at: number, length: number, field: string, where: string): number {
  const first = block[at]!;
  if (first & 0x80) {
    let value = BigInt(first & 0x3f) - (first & 0x40 ? 0x40n : 0n);
    for (let i = at + 1; i < at + length; i++) value = value * 256n + BigInt(block[i]!);
    const result = Number(value);
    if (!Number.isSafeInteger(result)) throw malformed(`${field} is out of range`, where);
    return result;
  }
  let i = at;
  const end = at + length;
  while (i < end && block[i] === 0x20) i++;
  let value = 0;
  for (; i < end; i++) {
    const byte = block[i]!;
    if (byte === 0 || byte === 0x20) break;
    if (byte < 0x30 || byte > 0x37) throw malformed(`${field} is not a number`, where);
    value = value * 8 + (byte - 0x30);
  }
  return value;
}

function checkSum(block: Buffer, where: string): void {
  const stored = parseNumber(block, 148, 8, "checksum", where);
  let sum = 8 * 0x20; // the sum's own field counts as spaces
  for (let i = 0; i < 148; i++) sum += block[i]!;
  for (let i = 156; i < BLOCK_BYTES; i++) sum += block[i]!;
  if (stored === sum) return;
  // Some old tars summed signed characters.
  for (let i = 0; i < BLOCK_BYTES; i++) if ((i < 148 || i >= 156) && block[i]! > 127) sum -= 256;
  if (stored !== sum) throw malformed("the checksum of its header is wrong", where);
}

/** A file size that is within bounds. */
export function checkSize(size: number, where: string): number {
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_FILE_BYTES) {
    throw malformed(`a size of ${size} bytes is out of range`, where);
  }
  return size;
}

/** `invalid_argument` that names the entry. */
export function malformed(reason: string, where: string): SandboxError {
  return new SandboxError("invalid_argument", `not a valid tar archive: ${where}: ${reason}`);
}
