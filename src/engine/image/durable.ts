/** Files that are there whole or not at all, even after a power failure. */

import { randomUUID } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { syncPath } from "../sync-path.ts";

/** Suffix of files on their way; what a crash leaves of them is swept at start. */
export const PARTIAL_SUFFIX = ".partial";

/** Writes `path` beside, makes it durable, and renames it into place, over what may be there. */
export async function writeDurably(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  const partial = `${path}.${randomUUID()}${PARTIAL_SUFFIX}`;
  try {
    await using file = await open(partial, "wx", mode);
    await file.writeFile(data);
    await file.sync();
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  await syncPath(dirname(path));
}
