/**
 * One inode in EROFS' extended form, and the chunk map behind it.
 * Format: struct erofs_inode_extended and union erofs_inode_i_u in fs/erofs/erofs_fs.h.
 */

import type { Inode } from "../tree/tree.ts";
import { chunkCount, INODE_BYTES, type PlacedInode } from "./erofs-layout.ts";
import { writeXattrs } from "./erofs-xattr.ts";

// stat(2), file types.
const FORMAT_BITS: Record<Inode["type"], number> = {
  fifo: 0o010000,
  char: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

const EXTENDED = 1;
const FLAT_PLAIN = 0;
const FLAT_INLINE = 2;
const CHUNK_BASED = 4;
/** EROFS_NULL_ADDR: no block, or a hole. */
const NO_BLOCK = 0xffff_ffff;

/**
 * Writes inode, attributes and chunk map at the inode's offset; inline content is the caller's.
 * `dataBlock` and `blobBlock` say where, in blocks of the joined device, its own content and its layer's blob begin.
 */
export function writeInode(
  target: Buffer,
  placed: PlacedInode,
  dataBlock: number | undefined,
  blobBlock: number,
): void {
  const { inode, offset } = placed;
  const layout =
    placed.chunkBits !== undefined ? CHUNK_BASED : placed.inlineBytes > 0 ? FLAT_INLINE : FLAT_PLAIN;
  target.writeUInt16LE(EXTENDED | (layout << 1), offset);
  // 1 for the header and 1 for each 4 bytes that follow it (erofs_xattr_ibody_size).
  target.writeUInt16LE(placed.xattrBytes === 0 ? 0 : (placed.xattrBytes - 12) / 4 + 1, offset + 2);
  target.writeUInt16LE(FORMAT_BITS[inode.type] | inode.mode, offset + 4);
  target.writeBigUInt64LE(BigInt(placed.size), offset + 8);
  target.writeUInt32LE(locationField(placed, dataBlock, blobBlock), offset + 16);
  target.writeUInt32LE(placed.ino, offset + 20);
  target.writeUInt32LE(inode.uid, offset + 24);
  target.writeUInt32LE(inode.gid, offset + 28);
  target.writeBigInt64LE(BigInt(inode.mtime[0]), offset + 32);
  target.writeUInt32LE(inode.mtime[1], offset + 40);
  target.writeUInt32LE(placed.links, offset + 44);
  const end = writeXattrs(target, offset + INODE_BYTES, inode.xattrs);
  if (placed.chunkBits !== undefined) writeChunkMap(target, end, placed, blobBlock);
}

function locationField(placed: PlacedInode, dataBlock: number | undefined, blobBlock: number): number {
  const { inode } = placed;
  if (inode.device !== undefined) return encodeDevice(inode.device);
  if (placed.chunkBits !== undefined) return placed.chunkBits; // EROFS_CHUNK_FORMAT_BLKBITS_MASK, plain addresses
  if (dataBlock !== undefined) return dataBlock;
  return inode.block === undefined ? NO_BLOCK : blobBlock + inode.block;
}

/** new_encode_dev() in include/linux/kdev_t.h. */
function encodeDevice([major, minor]: readonly [number, number]): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function writeChunkMap(target: Buffer, at: number, placed: PlacedInode, blobBlock: number): void {
  const bits = placed.chunkBits!;
  const entries = chunkCount(placed.size, bits);
  target.fill(0xff, at, at + entries * 4); // holes
  for (const [first, chunks, block] of placed.inode.chunks!.runs) {
    for (let i = 0; i < chunks; i++)
      target.writeUInt32LE(blobBlock + block + i * 2 ** bits, at + (first + i) * 4);
  }
}
