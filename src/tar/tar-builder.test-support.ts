/** Builds tar archives for tests, well-formed and otherwise: what a field holds is up to the test. */

import { type ByteString, toBytes } from "./byte-string.ts";

export interface TestEntry {
  path: ByteString;
  /** Typeflag; "0" unless told. */
  typeflag?: string;
  data?: Buffer;
  linkTarget?: ByteString;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Decimal seconds, as PAX has them. */
  mtime?: string;
  device?: [number, number];
  xattrs?: Record<ByteString, ByteString>;
  /** Further PAX records. */
  pax?: [ByteString, ByteString][];
  /** Size field, if it shall not be that of the data. */
  size?: number;
}

export function buildTar(entries: readonly TestEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap((entry) => encodeEntry(entry)), Buffer.alloc(1024)]);
}

function encodeEntry(entry: TestEntry): Buffer[] {
  const records: [ByteString, ByteString][] = [...(entry.pax ?? [])];
  if (entry.path.length > 100) records.push(["path", entry.path]);
  if ((entry.linkTarget?.length ?? 0) > 100) records.push(["linkpath", entry.linkTarget!]);
  if ((entry.uid ?? 0) >= 2 ** 21) records.push(["uid", String(entry.uid)]);
  if ((entry.gid ?? 0) >= 2 ** 21) records.push(["gid", String(entry.gid)]);
  if (entry.mtime !== undefined) records.push(["mtime", entry.mtime]);
  for (const [name, value] of Object.entries(entry.xattrs ?? {}))
    records.push([`SCHILY.xattr.${name}`, value]);
  const parts: Buffer[] = [];
  if (records.length > 0) {
    const data = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
    parts.push(header({ path: "pax", typeflag: "x" }, data.length), pad(data));
  }
  const data = entry.data ?? Buffer.alloc(0);
  parts.push(header(entry, entry.size ?? data.length), pad(data));
  return parts;
}

export function paxRecord(key: ByteString, value: ByteString): Buffer {
  const body = ` ${key}=${value}\n`;
  let length = body.length;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return toBytes(`${length}${body}`);
}

export function header(entry: TestEntry, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(entry.path.slice(0, 100), 0, "latin1");
  octal(block, 100, 8, entry.mode ?? 0o644);
  octal(block, 108, 8, (entry.uid ?? 0) % 2 ** 21);
  octal(block, 116, 8, (entry.gid ?? 0) % 2 ** 21);
  octal(block, 124, 12, size);
  octal(block, 136, 12, 0);
  block.write(entry.typeflag ?? "0", 156, "latin1");
  block.write((entry.linkTarget ?? "").slice(0, 100), 157, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  octal(block, 329, 8, entry.device?.[0] ?? 0);
  octal(block, 337, 8, entry.device?.[1] ?? 0);
  return withChecksum(block);
}

export function withChecksum(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  octal(block, 148, 7, sum);
  return block;
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, "0"), at, "latin1");
}

function pad(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** The bytes as a stream, in chunks of `size` bytes. */
export async function* inChunks(data: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}
