/**
 * Writes the metadata of an EROFS file system whose file contents lie elsewhere: in the layers' blobs, which follow
 * the metadata on the joined device, each from a 4 KiB block on.
 *
 * Uncompressed, extended (64-byte) inodes, times exact to the nanosecond; whole files as one stretch of blocks, files
 * with holes as chunks. What stands in the file system is decided by the tree alone: the same tree gives the same
 * bytes. Readable by Linux from 5.16 on; format: fs/erofs/erofs_fs.h.
 *
 * The tree does not stand at the root but in its one folder, `IMAGE_FOLDER`. So the root and the inode number of that
 * folder are the same in every file system that we write, and so is the first block but for the superblock's sums and
 * counts: a guest that has mounted one of them, and read no more than this block, finds itself at home in every other.
 * That is how a stored VM state comes with its image's file system already mounted (`placeholderErofs`).
 */

import { SandboxError } from "../../../contract/errors.ts";
import type { Directory } from "../tree/tree.ts";
import { writeDirectoryBlock } from "./erofs-directory.ts";
import { writeInode } from "./erofs-inode.ts";
import {
  EROFS_BLOCK_BYTES,
  type ErofsLayout,
  INODE_BYTES,
  layOut,
  nidOf,
  type PlacedInode,
  resolveName,
} from "./erofs-layout.ts";
import { writeSuperblock } from "./erofs-superblock.ts";

/** Name of the folder, in the root, that holds the image's tree. */
export const IMAGE_FOLDER = "image";

export interface ErofsOptions {
  /** Bytes of each layer's blob, lowest layer first; multiples of 4 KiB. */
  blobBytes: readonly number[];
  /** More metadata than this is `invalid_argument`. */
  maxMetadataBytes: number;
}

/** The metadata: whole blocks, to be followed by the blobs in order. Errors: `invalid_argument`, `internal`. */
export function buildErofs(image: Directory, options: ErofsOptions): Buffer {
  const layout = layOut(rootAround(image), options.maxMetadataBytes);
  const metadata = Buffer.alloc(layout.metadataBytes);

  const blobStarts: number[] = [];
  let totalBlocks = layout.metadataBytes / EROFS_BLOCK_BYTES;
  for (const bytes of options.blobBytes) {
    blobStarts.push(totalBlocks);
    totalBlocks += bytes / EROFS_BLOCK_BYTES;
  }
  if (totalBlocks > 0xffff_fffe) {
    throw new SandboxError(
      "invalid_argument",
      "the image is larger than 16 TiB, the most that its file system holds",
    );
  }

  const firstDataBlock = layout.inodeAreaBytes / EROFS_BLOCK_BYTES;
  for (const placed of layout.inodes) {
    checkPlace(placed, options.blobBytes);
    const dataBlock = placed.dataBlock === undefined ? undefined : firstDataBlock + placed.dataBlock;
    writeInode(metadata, placed, dataBlock, blobStarts[placed.inode.layer] ?? 0);
    if (placed.plan !== undefined) writeDirectory(metadata, layout, placed, dataBlock);
    else if (placed.inode.target !== undefined) {
      metadata.write(placed.inode.target, contentOffset(placed, 0, dataBlock), "latin1");
    }
  }
  writeSuperblock(metadata, { layout, totalBlocks });
  return metadata;
}

/** A file system with an empty image: what a guest mounts in place of the image that it will get. */
export function placeholderErofs(): Buffer {
  const empty: Directory = { ...rootAround(undefined), children: new Map() };
  return buildErofs(empty, { blobBytes: [], maxMetadataBytes: 4 * EROFS_BLOCK_BYTES });
}

function rootAround(image: Directory | undefined): Directory {
  return {
    type: "directory",
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtime: [0, 0],
    xattrs: undefined,
    layer: 0,
    size: 0,
    block: undefined,
    chunks: undefined,
    target: undefined,
    device: undefined,
    children: new Map(image === undefined ? [] : [[IMAGE_FOLDER, image]]),
  };
}

function writeDirectory(
  metadata: Buffer,
  layout: ErofsLayout,
  placed: PlacedInode,
  dataBlock: number | undefined,
): void {
  const resolve = (name: string) => {
    const child = resolveName(layout, placed, name);
    return { nid: nidOf(child), type: child.inode.type };
  };
  for (let i = 0; i < placed.plan!.ends.length; i++) {
    writeDirectoryBlock(metadata, contentOffset(placed, i, dataBlock), placed.plan!, i, resolve);
  }
}

/** Where block `index` of a directory's or symlink's own content goes: to its blocks, or behind the inode. */
function contentOffset(placed: PlacedInode, index: number, dataBlock: number | undefined): number {
  const isTail = index === Math.floor((placed.size - 1) / EROFS_BLOCK_BYTES);
  if (isTail && placed.inlineBytes > 0) return placed.offset + INODE_BYTES + placed.xattrBytes;
  return (dataBlock! + index) * EROFS_BLOCK_BYTES;
}

/** An index that points outside its blob is damaged; a guest must not read another layer's bytes by it. */
function checkPlace({ inode }: PlacedInode, blobBytes: readonly number[]): void {
  const blocks = (blobBytes[inode.layer] ?? 0) / EROFS_BLOCK_BYTES;
  const fileBlocks = Math.ceil(inode.size / EROFS_BLOCK_BYTES);
  let fits = inode.block === undefined || inode.block + fileBlocks <= blocks;
  if (inode.chunks !== undefined) {
    const perChunk = 2 ** inode.chunks.bits;
    for (const [first, chunks, block] of inode.chunks.runs) {
      const length = Math.min((first + chunks) * perChunk, fileBlocks) - first * perChunk;
      fits &&= length > 0 && block + length <= blocks;
    }
  }
  if (inode.type === "file" && inode.size > 0 && inode.block === undefined && inode.chunks === undefined)
    fits = false;
  if (!fits) {
    throw new SandboxError("internal", "the index of a layer does not fit its blob", {
      hint: "Remove the images that use this layer, and import or pull them again.",
    });
  }
}
