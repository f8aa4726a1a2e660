/**
 * Decides where everything of an EROFS file system goes: the inode area behind the superblock, then the blocks of
 * large directories and long symlinks, then (on the joined device) the blobs.
 *
 * Inodes stand in the order in which a walk meets them: a directory, then all in it that is no directory, then each
 * of its subdirectories likewise. So `ls -l` and a start-up that reads one tree touch few blocks.
 */

import { SandboxError } from "../../../contract/errors.ts";
import type { ByteString } from "../../../tar/index.ts";
import { type Directory, type Inode, isDirectory } from "../tree/tree.ts";
import { type DirectoryPlan, planDirectory } from "./erofs-directory.ts";
import { xattrBytes } from "./erofs-xattr.ts";

export const EROFS_BLOCK_BYTES = 4096;
export const INODE_BYTES = 64; // struct erofs_inode_extended
/** Where the inode area begins: behind the superblock, which stands at 1024 and has 128 bytes. */
export const INODES_START = 1152;
/** An inode's number is its place in units of this size. */
export const NID_BYTES = 32;

// Longer tails get blocks of their own: they would leave gaps as large as themselves before the next block.
const MAX_INLINE_BYTES = 2048;

/** An inode and where it goes. All in bytes of the metadata, if not said otherwise. */
export interface PlacedInode {
  inode: Inode;
  /** Running number from 1 on, for 32-bit stat. */
  ino: number;
  offset: number;
  links: number;
  xattrBytes: number;
  /** Size as the inode states it. */
  size: number;
  /** Bytes of content behind the inode and its attributes; 0 if there are none. */
  inlineBytes: number;
  /** First block of content, counted from the end of the inode area; undefined if there is none. */
  dataBlock: number | undefined;
  /** Chunk size of a file with holes: 2^bits blocks. */
  chunkBits: number | undefined;
  /** Of a directory. */
  plan: DirectoryPlan | undefined;
  parent: PlacedInode | undefined;
}

export interface ErofsLayout {
  /** In the order of their offsets; the root is the first. */
  inodes: PlacedInode[];
  placed: ReadonlyMap<Inode, PlacedInode>;
  /** Bytes of superblock and inodes, a multiple of the block size. */
  inodeAreaBytes: number;
  /** Bytes of the whole metadata, a multiple of the block size. */
  metadataBytes: number;
}

/** Lays out the tree. Errors: `invalid_argument` when the metadata would pass `maxMetadataBytes`. */
export function layOut(root: Directory, maxMetadataBytes: number): ErofsLayout {
  const inodes: PlacedInode[] = [];
  const placed = new Map<Inode, PlacedInode>();
  let cursor = INODES_START;
  let dataBlocks = 0;

  const place = (inode: Inode, parent: PlacedInode | undefined): PlacedInode => {
    const plan = isDirectory(inode) ? planDirectory(inode.children) : undefined;
    const size = plan?.size ?? inode.target?.length ?? inode.size;
    const attributeBytes = xattrBytes(inode.xattrs);
    const chunkBits = inode.chunks === undefined ? undefined : smallestBits(inode);
    const chunkMapBytes = chunkBits === undefined ? 0 : 4 * chunkCount(size, chunkBits);
    const ownContent = plan !== undefined || inode.type === "symlink";
    const tail = ownContent ? size % EROFS_BLOCK_BYTES : 0;
    const inlineBytes =
      tail <= MAX_INLINE_BYTES && INODE_BYTES + attributeBytes + tail <= EROFS_BLOCK_BYTES ? tail : 0;
    const ownBlocks = ownContent ? Math.ceil((size - inlineBytes) / EROFS_BLOCK_BYTES) : 0;

    // Multiples of 64: an inode never crosses a block's edge.
    let offset = roundUp(cursor, INODE_BYTES);
    const fixedBytes = INODE_BYTES + attributeBytes;
    // An inline tail must lie in one block, for fast symlinks together with the inode (fs/erofs/inode.c,
    // erofs_fill_symlink).
    const within = offset % EROFS_BLOCK_BYTES;
    if (inlineBytes > 0 && within + fixedBytes + inlineBytes > EROFS_BLOCK_BYTES) {
      offset = roundUp(offset, EROFS_BLOCK_BYTES);
    }
    cursor = offset + fixedBytes + inlineBytes + chunkMapBytes;
    if (cursor + (dataBlocks + ownBlocks) * EROFS_BLOCK_BYTES > maxMetadataBytes) {
      throw new SandboxError(
        "invalid_argument",
        `the image needs more than ${maxMetadataBytes} bytes of file system metadata`,
      );
    }
    const result: PlacedInode = {
      inode,
      ino: inodes.length + 1,
      offset,
      links: 1,
      xattrBytes: attributeBytes,
      size,
      inlineBytes,
      dataBlock: ownBlocks === 0 ? undefined : dataBlocks,
      chunkBits,
      plan,
      parent,
    };
    dataBlocks += ownBlocks;
    inodes.push(result);
    placed.set(inode, result);
    // The root has the first block for itself: see erofs.ts.
    if (parent === undefined) cursor = roundUp(cursor, EROFS_BLOCK_BYTES);
    return result;
  };

  const pending: { directory: Directory; parent: PlacedInode | undefined }[] = [
    { directory: root, parent: undefined },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const directory = place(next.directory, next.parent);
    directory.links = 2; // its own name and its `.`
    const subdirectories: Directory[] = [];
    for (const name of directory.plan!.names) {
      const child = name === "." || name === ".." ? undefined : next.directory.children.get(name)!;
      if (child === undefined) continue;
      if (isDirectory(child)) {
        directory.links++; // the child's `..`
        subdirectories.push(child);
      } else {
        const known = placed.get(child);
        if (known === undefined) place(child, directory);
        else known.links++;
      }
    }
    // Taken from the end: the first subdirectory comes next.
    for (const subdirectory of subdirectories.reverse()) {
      pending.push({ directory: subdirectory, parent: directory });
    }
  }

  const inodeAreaBytes = roundUp(cursor, EROFS_BLOCK_BYTES);
  return { inodes, placed, inodeAreaBytes, metadataBytes: inodeAreaBytes + dataBlocks * EROFS_BLOCK_BYTES };
}

export function nidOf(placed: PlacedInode): number {
  return placed.offset / NID_BYTES;
}

/** The placed inode that a name in a directory stands for. */
export function resolveName(layout: ErofsLayout, directory: PlacedInode, name: ByteString): PlacedInode {
  if (name === ".") return directory;
  if (name === "..") return directory.parent ?? directory; // the root is its own parent
  return layout.placed.get(directory.inode.children!.get(name)!)!;
}

export function chunkCount(size: number, bits: number): number {
  return Math.ceil(size / (EROFS_BLOCK_BYTES * 2 ** bits));
}

function smallestBits(inode: Inode): number {
  return inode.chunks!.bits;
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
