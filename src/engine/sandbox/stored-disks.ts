import { constants } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { mergeQcow2 } from "../disk/index.ts";
import { type Levels, linkLevels } from "./disks.ts";

/** The disks of a stored state: what never changes as links, and what its sandbox has written as a file of its own. */

/** A template's: the blank disk, and what its guest has written there. */
const TEMPLATE_LEVELS = 2;
/** Of a chain of states. Each costs every load, and every read of what nobody has written. */
const MAX_OVERLAYS = 4;

/**
 * @param levels below what the sandbox has written, lowest first
 * @param own what it has written; a VMM that its guest owns may still have it open, so it is copied
 * @param maxBytes of the disk
 */
export async function storeDisk(
  folder: string,
  levels: Levels,
  own: string,
  maxBytes: number,
): Promise<void> {
  await mkdir(join(folder, ".."), { recursive: true, mode: 0o700 });
  if (levels.length < TEMPLATE_LEVELS + MAX_OVERLAYS) {
    await linkLevels(folder, levels);
    await copyFile(own, join(folder, String(levels.length)), constants.COPYFILE_FICLONE);
    return;
  }
  await linkLevels(folder, levels.slice(0, TEMPLATE_LEVELS));
  const merged = join(folder, String(TEMPLATE_LEVELS));
  await mergeQcow2([...levels.slice(TEMPLATE_LEVELS), own], merged, maxBytes);
}
