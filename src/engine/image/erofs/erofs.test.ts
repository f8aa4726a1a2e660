import { expect, test } from "vitest";
import type { Directory, Inode } from "../tree/tree.ts";
import { buildErofs, placeholderErofs } from "./erofs.ts";

const plain = {
  uid: 0,
  gid: 0,
  xattrs: undefined,
  layer: 0,
  size: 0,
  block: undefined,
  chunks: undefined,
  target: undefined,
  device: undefined,
};
const folder = (children: [string, Inode][], more: object = {}): Directory => ({
  ...plain,
  type: "directory",
  mode: 0o755,
  mtime: [0, 0],
  ...more,
  children: new Map(children),
});
const file = (): Inode => ({ ...plain, type: "file", mode: 0o644, mtime: [1, 2], children: undefined });

/** The superblock: magic, sums, counts, times and UUID (fs/erofs/erofs_fs.h). */
const SUPERBLOCK = [1024, 1152] as const;

test("the first block of every image is the same but for the superblock", () => {
  const big = folder(Array.from({ length: 3_000 }, (_, i) => [`file-${i}`, file()]));
  const images = [
    folder([]),
    folder([["a", file()]], { uid: 7, mode: 0o700, mtime: [1_700_000_000, 5], xattrs: { "user.x": "y" } }),
    folder([
      ["usr", folder([["bin", big]])],
      ["etc", folder([["passwd", file()]])],
    ]),
  ];
  const expected = placeholderErofs().subarray(0, 4096);
  for (const image of images) {
    const block = buildErofs(image, { blobBytes: [], maxMetadataBytes: 2 ** 24 }).subarray(0, 4096);
    expect(block.subarray(0, SUPERBLOCK[0])).toEqual(expected.subarray(0, SUPERBLOCK[0]));
    expect(block.subarray(SUPERBLOCK[1])).toEqual(expected.subarray(SUPERBLOCK[1]));
    // Where the kernel starts from (root_nid, blkszbits, meta_blkaddr, xattr_blkaddr, features) is the same too.
    for (const [start, end] of [
      [1036, 1040],
      [1060 + 4, 1072],
      [1104, 1152],
    ] as const) {
      expect(block.subarray(start, end)).toEqual(expected.subarray(start, end));
    }
  }
});
