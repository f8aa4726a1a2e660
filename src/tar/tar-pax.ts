/**
 * PAX extended headers: records `"<length> <key>=<value>\n"` that override an entry's fields.
 * Format: POSIX.1-2017, pax, "pax Extended Header". Sizes are bounded by MAX_EXTENDED_HEADER_BYTES.
 */

import { type ByteString, fromBytes } from "./byte-string.ts";
import { malformed } from "./tar-fields.ts";

export type PaxRecord = readonly [key: ByteString, value: ByteString];

/** The records of one header in their order (GNU's sparse format 0.0 repeats keys and needs it). */
export function parsePax(data: Buffer, where: string): PaxRecord[] {
  const records: PaxRecord[] = [];
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    const digits = space === -1 || space - at > 8 ? "" : data.toString("latin1", at, space);
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    if (length < digits.length + 3 || end > data.length || data[end - 1] !== 0x0a) {
      throw malformed("a PAX record has a wrong length", where);
    }
    const equals = data.indexOf(0x3d, space + 1);
    if (equals === -1 || equals >= end || equals === space + 1) {
      throw malformed("a PAX record has no key", where);
    }
    const key = fromBytes(data.subarray(space + 1, equals));
    records.push([key, fromBytes(data.subarray(equals + 1, end - 1))]);
    at = end;
  }
  return records;
}

/** A non-negative decimal integer. */
export function paxInteger(value: ByteString, key: string, where: string): number {
  const number = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw malformed(`the PAX record ${key} is not a number`, where);
  return number;
}

/** A point in time: seconds since 1970, rounded down, and nanoseconds from 0 to 999,999,999. */
export type Timestamp = readonly [seconds: number, nanoseconds: number];

/** A decimal number of seconds, exact to the nanosecond (a float is not). Further digits are cut off. */
export function paxTime(value: ByteString, key: string, where: string): Timestamp {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value);
  if (!match) throw malformed(`the PAX record ${key} is not a time`, where);
  const [, sign, whole, fraction = ""] = match;
  const seconds = Number(whole);
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign === "") return [seconds, nanoseconds];
  return nanoseconds === 0 ? [0 - seconds, 0] : [-seconds - 1, 1_000_000_000 - nanoseconds];
}

const SCHILY = "SCHILY.xattr.";
const LIBARCHIVE = "LIBARCHIVE.xattr.";

/**
 * The extended attribute that a record stands for, or undefined. Two spellings are in use: star's and GNU's with
 * the plain value, and libarchive's with an URL-encoded name and a base64 value.
 */
export function paxXattr([key, value]: PaxRecord): PaxRecord | undefined {
  if (key.startsWith(SCHILY)) {
    // A key ends at the first equals sign, so GNU tar escapes those in names, and the percent signs with them
    // (src/xheader.c, xattr_encode_keyword).
    const name = key.slice(SCHILY.length);
    return [name.replace(/%3D|%25/g, (code) => (code === "%3D" ? "=" : "%")), value];
  }
  if (key.startsWith(LIBARCHIVE)) {
    const name = key
      .slice(LIBARCHIVE.length)
      .replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    return [name, Buffer.from(value, "base64").toString("latin1")];
  }
  return undefined;
}
