/**
 * Makes an empty qcow2 overlay and reads the header of an existing one.
 *
 * `qemu-img create` costs about 20 ms of process start on the way to every sandbox; the file it writes is
 * four clusters, nearly all zeros. So we write them: header, refcount table, one refcount block, L1 table.
 * No backing file is named inside. The VMM attaches the backing node by itself, and a name in the file would
 * be a path that the jailed VMM must not follow. Format: QEMU docs/interop/qcow2.txt.
 */

import { type FileHandle, open, unlink } from "node:fs/promises";
import { SandboxError } from "../../contract/errors.ts";
import { writeFully } from "../write-fully.ts";

const MAGIC = 0x514649fb; // "QFI\xfb"
const CLUSTER_BITS = 16; // QEMU's default: 64 KiB
const CLUSTER_BYTES = 2 ** CLUSTER_BITS;
const HEADER_BYTES = 104;
const REFCOUNT_ORDER = 4; // 16-bit counts
// One L1 entry names an L2 table of one cluster of 8-byte entries, each of which names one cluster.
const BYTES_PER_L1_ENTRY = (CLUSTER_BYTES / 8) * CLUSTER_BYTES; // 512 MiB
// QCOW_MAX_L1_SIZE in block/qcow2.h is 32 MiB of table; this much is plenty and keeps the file small.
const MAX_VIRTUAL_BYTES = 64 * 2 ** 40;
// block/qcow2.h: MIN_CLUSTER_BITS, MAX_CLUSTER_BITS, QCOW_MAX_L1_SIZE.
const [MIN_CLUSTER_BITS, MAX_CLUSTER_BITS, MAX_L1_BYTES] = [9, 21, 32 * 2 ** 20];

export interface Qcow2Options {
  /** The size that the guest sees, in bytes: a positive multiple of 512, at most 64 TiB. */
  virtualSizeBytes: number;
  /** Permissions of the file; 0600 unless told. */
  mode?: number;
}

/**
 * Creates the overlay `path`, which must not exist. It occupies about 16 KiB on the host's disk.
 *
 * Errors: `invalid_argument` (size), `already_exists`, `resource_exhausted` (disk full), `internal`. After
 * an error no file is left.
 */
export async function createQcow2(path: string, options: Qcow2Options): Promise<void> {
  const { virtualSizeBytes } = options;
  if (
    !Number.isSafeInteger(virtualSizeBytes) ||
    virtualSizeBytes <= 0 ||
    virtualSizeBytes % 512 !== 0 ||
    virtualSizeBytes > MAX_VIRTUAL_BYTES
  ) {
    throw new SandboxError("invalid_argument", `a disk cannot have ${virtualSizeBytes} bytes`, {
      hint: "Give a positive multiple of 512 bytes, at most 64 TiB.",
    });
  }
  const l1Entries = Math.ceil(virtualSizeBytes / BYTES_PER_L1_ENTRY);
  const l1Clusters = Math.ceil((l1Entries * 8) / CLUSTER_BYTES);
  const clusters = 3 + l1Clusters;

  let file: FileHandle;
  try {
    file = await open(path, "wx", options.mode ?? 0o600);
  } catch (error) {
    throw diskError(error, path);
  }
  try {
    await file.truncate(clusters * CLUSTER_BYTES);
    const header = encodeHeader({
      virtualSizeBytes,
      l1Entries,
      l1Offset: 3 * CLUSTER_BYTES,
      refcountTableOffset: CLUSTER_BYTES,
      refcountTableClusters: 1,
    });
    await writeFully(file, header, 0);
    const refcountTable = Buffer.alloc(8);
    refcountTable.writeBigUInt64BE(BigInt(2 * CLUSTER_BYTES));
    await writeFully(file, refcountTable, CLUSTER_BYTES);
    const refcounts = Buffer.alloc(clusters * 2);
    for (let i = 0; i < clusters; i++) refcounts.writeUInt16BE(1, i * 2);
    await writeFully(file, refcounts, 2 * CLUSTER_BYTES);
  } catch (error) {
    await unlink(path).catch(() => {});
    throw diskError(error, path);
  } finally {
    await file.close();
  }
}

interface Qcow2Layout {
  virtualSizeBytes: number;
  l1Entries: number;
  l1Offset: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
}

export function encodeHeader(layout: Qcow2Layout): Buffer {
  // The 8 zero bytes after the header are the end mark of the header extensions.
  const header = Buffer.alloc(HEADER_BYTES + 8);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(3, 4); // version
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(layout.virtualSizeBytes), 24);
  header.writeUInt32BE(layout.l1Entries, 36);
  header.writeBigUInt64BE(BigInt(layout.l1Offset), 40);
  header.writeBigUInt64BE(BigInt(layout.refcountTableOffset), 48);
  header.writeUInt32BE(layout.refcountTableClusters, 56);
  header.writeUInt32BE(REFCOUNT_ORDER, 96);
  header.writeUInt32BE(HEADER_BYTES, 100);
  return header;
}

/** What a qcow2 file says of itself. */
export interface Qcow2Info {
  version: 2 | 3;
  virtualSizeBytes: number;
  clusterBytes: number;
  /** Name of the backing file, if the file names one. Ours never do. */
  backingFile: string | undefined;
  /** Not closed in order: reference counts may be stale (QEMU mends that on the next opening). */
  dirty: boolean;
  /** QEMU has found the file damaged and will not write to it. */
  corrupt: boolean;
}

/**
 * Reads and validates the header of a qcow2 file.
 *
 * Errors: `not_found`, `invalid_argument` naming the file and what is wrong with it.
 */
export async function readQcow2Info(path: string): Promise<Qcow2Info> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw diskError(error, path);
  }
  try {
    const buffer = Buffer.alloc(4096);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    const { size } = await file.stat();
    return parseHeader(buffer.subarray(0, bytesRead), size, path);
  } finally {
    await file.close();
  }
}

function parseHeader(header: Buffer, fileBytes: number, path: string): Qcow2Info {
  const refuse = (reason: string): never => {
    throw new SandboxError("invalid_argument", `${path} is not a usable qcow2 file: ${reason}`);
  };
  if (header.length < 72 || header.readUInt32BE(0) !== MAGIC)
    return refuse("it does not start with a header");
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) return refuse(`version ${version} is unknown`);
  if (version === 3 && header.length < HEADER_BYTES) return refuse("its header is cut off");

  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    return refuse(`clusters of 2^${clusterBits} bytes are not allowed`);
  }
  const clusterBytes = 2 ** clusterBits;
  const virtualSize = header.readBigUInt64BE(24);
  const l1Entries = header.readUInt32BE(36);
  const l1Offset = header.readBigUInt64BE(40);
  const l1Bytes = l1Entries * 8;
  const neededL1 = virtualSize / BigInt((clusterBytes / 8) * clusterBytes);
  if (virtualSize > BigInt(Number.MAX_SAFE_INTEGER)) return refuse("its size is beyond all bounds");
  if (l1Bytes > MAX_L1_BYTES || BigInt(l1Entries) < neededL1)
    return refuse("its L1 table has the wrong size");
  if (l1Offset % BigInt(clusterBytes) !== 0n || l1Offset + BigInt(l1Bytes) > BigInt(fileBytes)) {
    return refuse("its L1 table lies outside the file");
  }
  const refcountTable = header.readBigUInt64BE(48);
  if (refcountTable % BigInt(clusterBytes) !== 0n || refcountTable >= BigInt(fileBytes)) {
    return refuse("its refcount table lies outside the file");
  }

  const backingOffset = header.readBigUInt64BE(8);
  const backingLength = header.readUInt32BE(16);
  let backingFile: string | undefined;
  if (backingOffset !== 0n) {
    const end = backingOffset + BigInt(backingLength);
    if (backingLength > 1023 || end > BigInt(header.length))
      return refuse("its backing file name is out of place");
    backingFile = header.toString("utf8", Number(backingOffset), Number(end));
  }

  const incompatible = version === 3 ? header.readBigUInt64BE(72) : 0n;
  if (version === 3) {
    if (header.readUInt32BE(96) > 6) return refuse("its reference counts are wider than 64 bits");
    if (header.readUInt32BE(100) < HEADER_BYTES) return refuse("its header is too short");
    if (incompatible > 0x1fn) return refuse("it needs features that are unknown here");
  }
  return {
    version,
    virtualSizeBytes: Number(virtualSize),
    clusterBytes,
    backingFile,
    dirty: (incompatible & 1n) !== 0n,
    corrupt: (incompatible & 2n) !== 0n,
  };
}

export function diskError(error: unknown, path: string): SandboxError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "EEXIST")
    return new SandboxError("already_exists", `${path} exists already`, { cause: error });
  if (code === "ENOENT") {
    return new SandboxError("not_found", `${path} or its folder does not exist`, { cause: error });
  }
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new SandboxError("resource_exhausted", `the disk is full: ${path} cannot be written`, {
      hint: "Free space on the disk that holds MSB_HOME, or point MSB_HOME to a larger one.",
      cause: error,
    });
  }
  return new SandboxError("internal", `${path} cannot be used: ${(error as Error).message}`, {
    cause: error,
  });
}
