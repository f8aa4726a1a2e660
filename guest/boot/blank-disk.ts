import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { BuildError, command } from "./command.ts";

/** Size of the file system. No disk that stands on it may be smaller; on a larger one the guest grows it. */
export const BLANK_DISK_BYTES = 4 * 1024 ** 3;

const JOURNAL_MIB = 16;
const UUID = "6d736200-0000-4000-8000-000000000001";
const BLOCK = 4096;
/** ext4's block group: as many blocks as one block has bits. The first backup superblock opens the second. */
const FIRST_GROUP_BYTES = BLOCK * 8 * BLOCK;

/**
 * An empty ext4, the backing file of every sandbox's writable overlay. mke2fs.conf says what is in it.
 *
 * The file ends where its last used block ends, tens of megabytes instead of gigabytes, so that a plain
 * copy, a checksum or a package of it costs little; past the end of a backing file a disk reads zeroes.
 * Cut off with the emptiness are the backup superblocks, which on a blank disk back up nothing.
 */
export function makeBlankDisk(file: string): void {
  const full = `${file}.full`;
  rmSync(full, { force: true });
  const options = [
    "-q",
    "-F",
    "-t",
    "ext4",
    "-J",
    `size=${JOURNAL_MIB}`,
    "-U",
    UUID,
    "-E",
    `hash_seed=${UUID}`,
  ];
  command("mke2fs", [...options, full, `${BLANK_DISK_BYTES / 1024}k`], {
    env: {
      MKE2FS_CONFIG: join(import.meta.dirname, "mke2fs.conf"),
      // The time recorded in it; the first name is for e2fsprogs before 1.47.1.
      E2FSPROGS_FAKE_TIME: "1",
      SOURCE_DATE_EPOCH: "1",
    },
  });
  copyUsedBlocks(full, file);
  rmSync(full);
}

function copyUsedBlocks(from: string, to: string): void {
  const source = openSync(from, "r");
  const target = openSync(to, "w");
  const block = Buffer.alloc(BLOCK);
  const zeroes = Buffer.alloc(BLOCK);
  let end = 0;
  for (let at = 0; at < FIRST_GROUP_BYTES; at += BLOCK) {
    readSync(source, block, 0, BLOCK, at);
    if (block.equals(zeroes)) continue;
    writeSync(target, block, 0, BLOCK, at);
    end = at + BLOCK;
  }
  closeSync(source);
  closeSync(target);
  if (end === 0) throw new BuildError("mke2fs wrote an empty disk");
}
