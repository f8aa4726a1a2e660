/**
 * Writes tar archives: ustar headers, with PAX records for what does not fit them. Names are bytes; the same entry always
 * gives the same bytes. Formats: POSIX.1-2017 pax; GNU tar's manual, "Storing Sparse Files", PAX 1.0; extended attributes
 * as `SCHILY.xattr.*`, as GNU tar, Go and Docker read them.
 */

import { type ByteString, toBytes } from "./byte-string.ts";
import type { TarEntry, TarType } from "./tar.ts";
import type { Timestamp } from "./tar-pax.ts";
import type { SparseExtent } from "./tar-sparse.ts";

export interface TarHeader {
  type: TarType;
  /** Relative and without a slash at its end, whatever it is. */
  path: ByteString;
  /** Of a link or a symlink. */
  linkTarget?: ByteString | undefined;
  mode: number;
  uid: number;
  gid: number;
  mtime: Timestamp;
  /** Bytes of a file, holes included. */
  size?: number | undefined;
  /** Where the bytes that follow belong, for a file with holes. */
  sparse?: readonly SparseExtent[] | undefined;
  /** Major and minor number. */
  device?: readonly [number, number] | undefined;
  xattrs?: Readonly<Record<ByteString, ByteString>> | undefined;
}

const BLOCK_BYTES = 512;

/** What ends an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK_BYTES);

const TYPEFLAGS: Record<TarType, string> = {
  file: "0",
  link: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/**
 * All that stands before an entry's contents. Contents follow as they are, for a sparse file its extents one after the other,
 * and then `tarPadding` of their length.
 */
export function tarHeader(entry: TarHeader): Buffer {
  const map = entry.sparse === undefined ? undefined : sparseMap(entry.sparse, entry.size ?? 0);
  const dataBytes = entry.sparse?.reduce((sum, { length }) => sum + length, 0) ?? entry.size ?? 0;
  const storedBytes = dataBytes + (map?.length ?? 0);
  const path = entry.type === "directory" ? `${entry.path}/` : entry.path;

  const records: [ByteString, ByteString][] = [];
  if (map !== undefined) {
    records.push(["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"]);
    records.push(["GNU.sparse.name", path], ["GNU.sparse.realsize", String(entry.size ?? 0)]);
  }
  if (!fits(path, 100)) records.push(["path", path]);
  if (!fits(entry.linkTarget ?? "", 100)) records.push(["linkpath", entry.linkTarget!]);
  if (entry.uid > 0o7777777) records.push(["uid", String(entry.uid)]);
  if (entry.gid > 0o7777777) records.push(["gid", String(entry.gid)]);
  if (storedBytes > 0o77777777777) records.push(["size", String(storedBytes)]);
  const [seconds, nanoseconds] = entry.mtime;
  if (nanoseconds !== 0 || seconds < 0 || seconds > 0o77777777777)
    records.push(["mtime", paxTime(entry.mtime)]);
  for (const [name, value] of Object.entries(entry.xattrs ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))) {
    // A key ends at the first equals sign: GNU tar's escape.
    records.push([`SCHILY.xattr.${name.replace(/%/g, "%25").replace(/=/g, "%3D")}`, value]);
  }

  const parts: Buffer[] = [];
  if (records.length > 0) {
    const data = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
    const about = { ...NOBODY, path: "PaxHeaders/entry", typeflag: "x", size: data.length };
    parts.push(headerBlock(about), data, tarPadding(data.length));
  }
  const [major, minor] = entry.device ?? [0, 0];
  parts.push(
    headerBlock({
      path,
      typeflag: TYPEFLAGS[entry.type],
      mode: entry.mode,
      uid: entry.uid > 0o7777777 ? 0 : entry.uid,
      gid: entry.gid > 0o7777777 ? 0 : entry.gid,
      size: storedBytes > 0o77777777777 ? 0 : storedBytes,
      mtime: Math.min(Math.max(seconds, 0), 0o77777777777),
      linkTarget: entry.linkTarget ?? "",
      major,
      minor,
    }),
  );
  if (map !== undefined) parts.push(map);
  return Buffer.concat(parts);
}

/** An entry as it was read, to be written again under `path`; what its links lead to is the caller's. */
export function headerOf(entry: TarEntry, path: ByteString): TarHeader {
  const { type, linkTarget, mode, uid, gid, mtime, size, sparse, xattrs } = entry;
  return {
    type,
    path,
    linkTarget,
    mode,
    uid,
    gid,
    mtime,
    size,
    sparse,
    device: [entry.deviceMajor, entry.deviceMinor],
    xattrs: Object.fromEntries(xattrs),
  };
}

/** What fills the last block behind `bytes` of contents. */
export function tarPadding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

interface Fields {
  path: ByteString;
  typeflag: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  linkTarget: ByteString;
  major: number;
  minor: number;
}

const NOBODY = { mode: 0o644, uid: 0, gid: 0, mtime: 0, linkTarget: "", major: 0, minor: 0 };

function headerBlock(fields: Fields): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(fields.path.slice(0, 100), 0, "latin1");
  octal(block, 100, 8, fields.mode);
  octal(block, 108, 8, fields.uid);
  octal(block, 116, 8, fields.gid);
  octal(block, 124, 12, fields.size);
  octal(block, 136, 12, fields.mtime);
  block.write(fields.typeflag, 156, "latin1");
  block.write(fields.linkTarget.slice(0, 100), 157, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  // Numbers above seven octal digits, in base 256: GNU's way, which all read.
  for (const [at, value] of [
    [329, fields.major],
    [337, fields.minor],
  ] as const) {
    if (value <= 0o7777777) octal(block, at, 8, value);
    else {
      block[at] = 0x80;
      block.writeUInt32BE(value, at + 4);
    }
  }
  block.fill(" ", 148, 156);
  octal(
    block,
    148,
    7,
    block.reduce((sum, byte) => sum + byte, 0),
  );
  return block;
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, "0"), at, "latin1");
  block[at + length - 1] = 0;
}

/** Whether a name can stand in the header: ASCII, since readers take what is not for text of their locale, and short. */
function fits(name: ByteString, length: number): boolean {
  return name.length <= length && !/[\u0080-\u00ff]/.test(name);
}

function paxRecord(key: ByteString, value: ByteString): Buffer {
  const body = ` ${key}=${value}\n`;
  let length = body.length;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return toBytes(`${length}${body}`);
}

/** Decimal seconds; the nanoseconds count forward also before 1970. */
function paxTime([seconds, nanoseconds]: Timestamp): string {
  if (seconds >= 0 || nanoseconds === 0) return `${seconds}${fraction(nanoseconds)}`;
  const whole = seconds + 1;
  return `-${Math.abs(whole)}${fraction(1_000_000_000 - nanoseconds)}`;
}

function fraction(nanoseconds: number): string {
  return nanoseconds === 0 ? "" : `.${String(nanoseconds).padStart(9, "0").replace(/0+$/, "")}`;
}

function sparseMap(stored: readonly SparseExtent[], size: number): Buffer {
  const last = stored.at(-1);
  const endsInHole = size > (last === undefined ? 0 : last.offset + last.length);
  // GNU tar makes a file as long as its last piece reaches, so one without bytes stands at the end.
  const extents = endsInHole ? [...stored, { offset: size, length: 0 }] : stored;
  const lines = [extents.length, ...extents.flatMap(({ offset, length }) => [offset, length])];
  const text = Buffer.from(`${lines.join("\n")}\n`, "latin1");
  return Buffer.concat([text, tarPadding(text.length)]);
}
