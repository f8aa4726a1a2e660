/**
 * EROFS' superblock and its checksum. Format: struct erofs_super_block in fs/erofs/erofs_fs.h;
 * Linux, Documentation/filesystems/erofs.rst.
 */

import { createHash } from "node:crypto";
import { EROFS_BLOCK_BYTES, type ErofsLayout, nidOf } from "./erofs-layout.ts";

const OFFSET = 1024;
const MAGIC = 0xe0f5e1e2;
const COMPAT_CHECKSUM = 1;
const COMPAT_MTIME = 2; // times are of the last modification, not of the last change of the inode
const INCOMPAT_CHUNKED_FILE = 4;

export interface SuperblockFacts {
  layout: ErofsLayout;
  /** Blocks of the whole device: metadata and blobs. */
  totalBlocks: number;
}

/**
 * Writes the superblock into `metadata`, which must be complete but for it: UUID and checksum are computed from it.
 * The same metadata gives the same UUID.
 */
export function writeSuperblock(metadata: Buffer, { layout, totalBlocks }: SuperblockFacts): void {
  const root = layout.inodes[0]!;
  const newest = layout.inodes.reduce((latest, { inode }) => Math.max(latest, inode.mtime[0]), 0);
  metadata.writeUInt32LE(MAGIC, OFFSET);
  metadata.writeUInt32LE(COMPAT_CHECKSUM | COMPAT_MTIME, OFFSET + 8);
  metadata.writeUInt8(12, OFFSET + 12); // blocks of 2^12 bytes
  metadata.writeUInt16LE(nidOf(root), OFFSET + 14);
  metadata.writeBigUInt64LE(BigInt(layout.inodes.length), OFFSET + 16);
  // The time the file system was made. It must not vary with the clock, so it is that of the newest file.
  metadata.writeBigUInt64LE(BigInt(newest), OFFSET + 24);
  metadata.writeUInt32LE(totalBlocks, OFFSET + 36);
  metadata.writeUInt32LE(0, OFFSET + 40); // inode numbers count from the start of the device
  metadata.writeUInt32LE(0, OFFSET + 44); // no shared attributes
  // Also where no file has holes: features must be the same in every image (erofs.ts).
  metadata.writeUInt32LE(INCOMPAT_CHUNKED_FILE, OFFSET + 80);

  const uuid = createHash("sha256").update(metadata).digest().subarray(0, 16);
  uuid[6] = (uuid[6]! & 0x0f) | 0x80; // RFC 9562, version 8: our own rule
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  uuid.copy(metadata, OFFSET + 48);

  metadata.writeUInt32LE(crc32c(metadata.subarray(OFFSET, EROFS_BLOCK_BYTES)), OFFSET + 4);
}

// CRC-32C (Castagnoli), reflected. The kernel's crc32c() starts from ~0 here and does not invert the result
// (fs/erofs/super.c, erofs_superblock_csum_verify), and covers all of the first block from the superblock on.
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

export function crc32c(data: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return crc >>> 0;
}
