/**
 * Reads a tar archive from a stream: ustar, GNU and PAX, as GNU tar, bsdtar, Python, Go and Docker write them.
 *
 * Made for hostile input. Memory is bounded by the largest extended header; nothing is trusted before it is
 * checked, and everything wrong is `invalid_argument`, naming the entry. Names stay bytes. What an entry means for
 * a file system (paths, whiteouts) is not decided here; see layer-path.ts and ingest.ts.
 *
 * Bounds: MAX_EXTENDED_HEADER_BYTES for each PAX header and long name, MAX_SPARSE_EXTENTS, MAX_FILE_BYTES; the
 * number of entries and of bytes is bounded by the caller (ImageLimits).
 */

import type { ByteReader } from "./byte-reader.ts";
import { type ByteString, fromBytes, show } from "./byte-string.ts";
import { MAX_EXTENDED_HEADER_BYTES } from "./limits.ts";
import { BLOCK_BYTES, checkSize, isZeroBlock, malformed, parseHeader, type RawHeader } from "./tar-fields.ts";
import { type PaxRecord, parsePax, paxInteger, paxTime, paxXattr, type Timestamp } from "./tar-pax.ts";
import {
  checkSparse,
  paxSparseMap,
  readGnuSparse,
  readPaxSparse10,
  type SparseExtent,
} from "./tar-sparse.ts";

export type TarType = "file" | "link" | "symlink" | "char" | "block" | "directory" | "fifo";

export interface TarEntry {
  type: TarType;
  /** As the archive has it: may be absolute, hold `..`, or end in a slash. */
  path: ByteString;
  /** Target of a link or symlink. */
  linkTarget: ByteString;
  mode: number;
  uid: number;
  gid: number;
  mtime: Timestamp;
  /** Bytes of the file, holes included; 0 for all that is no file. */
  size: number;
  /** Bytes of data that follow in the archive. */
  storedBytes: number;
  /** Where the stored bytes belong, for a file with holes. */
  sparse: SparseExtent[] | undefined;
  deviceMajor: number;
  deviceMinor: number;
  xattrs: Map<ByteString, ByteString>;
  /** The stored bytes, piece by piece. A piece is valid until the next is asked for; what is not read is skipped. */
  body(): AsyncGenerator<Buffer>;
}

const TYPES: Record<string, TarType> = {
  "\0": "file",
  "0": "file",
  "1": "link",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  "7": "file", // POSIX: "contiguous file", to be treated as a file
  D: "directory", // GNU incremental dump; its data lists the directory's files
  S: "file", // GNU sparse
};

/**
 * The entries of an archive, in order. Ends at the end mark, or where the stream ends at the edge of an entry (some
 * writers leave the mark out). Does not read what may follow the mark (padding, as a rule); the caller drains the reader.
 */
export async function* readTar(reader: ByteReader): AsyncGenerator<TarEntry> {
  let global: PaxRecord[] = [];
  let local: PaxRecord[] = [];
  let longName: ByteString | undefined;
  let longLink: ByteString | undefined;

  for (;;) {
    const where = `header at byte ${reader.position}`;
    const block = await reader.readUnlessEnd(BLOCK_BYTES);
    if (block === undefined || isZeroBlock(block)) {
      const second = block === undefined ? undefined : await reader.readUnlessEnd(BLOCK_BYTES);
      if (second !== undefined && !isZeroBlock(second)) throw malformed("a lone block of zeros", where);
      if (local.length > 0 || longName !== undefined || longLink !== undefined) {
        throw malformed("it ends after an extended header", where);
      }
      return;
    }
    const header = parseHeader(block, where);

    switch (header.typeflag) {
      case "x":
      case "X": // Solaris
        local = parsePax(await readExtended(reader, header, where), where);
        continue;
      case "g":
        global = mergeGlobal(global, parsePax(await readExtended(reader, header, where), where));
        continue;
      case "L":
        longName = upToNul(await readExtended(reader, header, where));
        continue;
      case "K":
        longLink = upToNul(await readExtended(reader, header, where));
        continue;
      case "V": // GNU volume label
        await reader.skip(padded(checkSize(header.size, where)));
        continue;
    }

    // A long name of GNU's stands for the header's own; PAX stands above both (GNU tar writes only one of them).
    if (longName !== undefined) header.path = longName;
    if (longLink !== undefined) header.linkTarget = longLink;
    const records = global.length === 0 ? local : [...global, ...local];
    [local, longName, longLink] = [[], undefined, undefined];

    const entry = await decodeEntry(header, records, reader, where);
    const end = reader.position + padded(entry.storedBytes);
    yield entry;
    await reader.skip(end - reader.position);
  }
}

async function decodeEntry(
  header: RawHeader,
  records: readonly PaxRecord[],
  reader: ByteReader,
  where: string,
): Promise<TarEntry> {
  const entry: TarEntry = {
    type: "file",
    path: header.path,
    linkTarget: header.linkTarget,
    mode: header.mode & 0o7777,
    uid: header.uid,
    gid: header.gid,
    mtime: [header.mtimeSeconds, 0],
    size: header.size,
    storedBytes: header.size,
    sparse: undefined,
    deviceMajor: header.deviceMajor,
    deviceMinor: header.deviceMinor,
    xattrs: new Map(),
    body: () => readBody(reader, entry.storedBytes),
  };
  const sparse = applyPax(entry, records, where);
  const named = entry.path === "" ? where : `entry ${show(entry.path)}`;

  const type = TYPES[header.typeflag];
  if (type === undefined) throw malformed(`type ${JSON.stringify(header.typeflag)} is not supported`, named);
  // V7 had no type for directories and ended their names in a slash; GNU tar and libarchive still heed that.
  entry.type = type === "file" && entry.path.endsWith("/") ? "directory" : type;
  entry.storedBytes = checkSize(entry.storedBytes, named);
  entry.size = entry.storedBytes;

  if (entry.type !== "file") {
    // Only files have contents. Some writers put the target's size into links and directories, without data.
    if (header.typeflag !== "D" && header.typeflag !== "0" && header.typeflag !== "\0") entry.storedBytes = 0;
    entry.size = 0;
  } else if (header.typeflag === "S") {
    const map = await readGnuSparse(header.block, reader, named);
    setSparse(entry, map.size, map.extents, named);
  } else if (sparse.major === 1 && sparse.minor === 0) {
    const map = await readPaxSparse10(reader, padded(entry.storedBytes), named);
    entry.storedBytes -= Math.min(map.mapBytes, entry.storedBytes);
    setSparse(entry, sparse.size ?? entry.size, map.extents, named);
  } else if (sparse.extents !== undefined) {
    setSparse(entry, sparse.size ?? entry.size, sparse.extents, named);
  }
  return entry;
}

function setSparse(entry: TarEntry, size: number, extents: SparseExtent[], where: string): void {
  entry.size = checkSize(size, where);
  entry.sparse = checkSparse(extents, entry.size, entry.storedBytes, where);
}

interface PaxSparse {
  major: number;
  minor: number;
  size: number | undefined;
  extents: SparseExtent[] | undefined;
}

/** Applies the records to the entry; returns what they say of a sparse file. */
function applyPax(entry: TarEntry, records: readonly PaxRecord[], where: string): PaxSparse {
  const sparse: PaxSparse = { major: 0, minor: 0, size: undefined, extents: undefined };
  if (records.length === 0) return sparse;
  let sparseName: ByteString | undefined;
  for (const record of records) {
    const [key, value] = record;
    const xattr = paxXattr(record);
    if (xattr !== undefined) {
      entry.xattrs.set(xattr[0], xattr[1]);
      continue;
    }
    if (value === "") continue; // an empty value takes a global record back
    if (key === "path") entry.path = value;
    else if (key === "linkpath") entry.linkTarget = value;
    else if (key === "size") entry.storedBytes = paxInteger(value, key, where);
    else if (key === "uid") entry.uid = paxInteger(value, key, where);
    else if (key === "gid") entry.gid = paxInteger(value, key, where);
    else if (key === "mtime") entry.mtime = paxTime(value, key, where);
    else if (key === "GNU.sparse.name") sparseName = value;
    else if (key === "GNU.sparse.major") sparse.major = paxInteger(value, key, where);
    else if (key === "GNU.sparse.minor") sparse.minor = paxInteger(value, key, where);
    else if (key === "GNU.sparse.size" || key === "GNU.sparse.realsize") {
      sparse.size = paxInteger(value, key, where);
    }
  }
  // The PAX formats keep the real name apart: tars that know no sparse files then extract to another name.
  if (sparseName !== undefined) entry.path = sparseName;
  sparse.extents = paxSparseMap(records, where);
  return sparse;
}

// Of a global header only what can sensibly hold for many entries is kept: it stays in memory to the end.
const GLOBAL_KEYS = new Set(["uid", "gid", "mtime"]);

function mergeGlobal(old: PaxRecord[], added: PaxRecord[]): PaxRecord[] {
  const merged = new Map([...old, ...added].filter(([key]) => GLOBAL_KEYS.has(key)));
  return [...merged].filter(([, value]) => value !== "");
}

async function readExtended(reader: ByteReader, header: RawHeader, where: string): Promise<Buffer> {
  if (header.size < 0 || header.size > MAX_EXTENDED_HEADER_BYTES) {
    throw malformed(`an extended header of ${header.size} bytes is too large`, where);
  }
  const data = await reader.read(padded(header.size));
  return Buffer.from(data.subarray(0, header.size));
}

async function* readBody(reader: ByteReader, size: number): AsyncGenerator<Buffer> {
  for (let left = size; left > 0; ) {
    const piece = await reader.piece(left);
    left -= piece.length;
    yield piece;
  }
}

function upToNul(data: Buffer): ByteString {
  const end = data.indexOf(0);
  return fromBytes(end === -1 ? data : data.subarray(0, end));
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
}
