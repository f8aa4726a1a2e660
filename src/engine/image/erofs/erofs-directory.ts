/**
 * Directories as EROFS keeps them: blocks of fixed-size records followed by the names, sorted by bytes over all
 * blocks, so that the kernel finds a name by two binary searches (fs/erofs/namei.c). `.` and `..` are
 * entries like any other and sorted among them. Format: erofs_dirent in fs/erofs/erofs_fs.h.
 */

import type { ByteString } from "../../../tar/index.ts";
import type { Inode } from "../tree/tree.ts";

const BLOCK_BYTES = 4096;
const DIRENT_BYTES = 12;

// FT_* of include/linux/fs_types.h.
const FILE_TYPES: Record<Inode["type"], number> = {
  file: 1,
  directory: 2,
  char: 3,
  block: 4,
  fifo: 5,
  socket: 6,
  symlink: 7,
};

/** How a directory's names fall into blocks; known before any inode has its number. */
export interface DirectoryPlan {
  /** All names, sorted, `.` and `..` among them. */
  names: ByteString[];
  /** For each block, the index of the first name that is not in it. */
  ends: number[];
  /** Bytes of the whole: full blocks, and what the last one needs. */
  size: number;
}

export function planDirectory(children: ReadonlyMap<ByteString, Inode>): DirectoryPlan {
  // The default order of strings is by code units, which for byte strings is by bytes.
  const names = [...children.keys(), ".", ".."].sort();
  const ends: number[] = [];
  let used = 0;
  names.forEach((name, i) => {
    const needed = DIRENT_BYTES + name.length;
    if (used + needed > BLOCK_BYTES) {
      ends.push(i);
      used = 0;
    }
    used += needed;
  });
  ends.push(names.length);
  return { names, ends, size: (ends.length - 1) * BLOCK_BYTES + used };
}

/** Writes the plan's block `index` at `at`. `resolve` gives a name's inode and its number. */
export function writeDirectoryBlock(
  target: Buffer,
  at: number,
  plan: DirectoryPlan,
  index: number,
  resolve: (name: ByteString) => { nid: number; type: Inode["type"] },
): void {
  const first = index === 0 ? 0 : plan.ends[index - 1]!;
  const end = plan.ends[index]!;
  let record = at;
  let nameAt = at + (end - first) * DIRENT_BYTES;
  for (let i = first; i < end; i++) {
    const name = plan.names[i]!;
    const { nid, type } = resolve(name);
    target.writeUInt32LE(nid, record); // 64 bits on disk; ours stay far below 2^32
    target.writeUInt16LE(nameAt - at, record + 8);
    target.writeUInt8(FILE_TYPES[type], record + 10);
    target.write(name, nameAt, "latin1");
    nameAt += name.length;
    record += DIRENT_BYTES;
  }
}
