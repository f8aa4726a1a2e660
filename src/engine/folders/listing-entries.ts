import { ENTRY_BYTES } from "./answers.ts";
import { recordName } from "./listing.ts";
import { tell } from "./name-operations.ts";
import type { Node } from "./nodes.ts";
import { type FolderState, withDirectory } from "./state.ts";

/**
 * A page of a directory with what the kernel would look up next, name by name (READDIRPLUS): `ls -l`, find and tar ask for a
 * page in place of each of its files.
 *
 * Bounds: 64 files are looked at for one page, so that others get their turn.
 */
const MAX_LOOKED_AT = 64;

/** `.` and `..`, of which the kernel wants to be told nothing. */
const DOTS = 2;

/** @param offset of the first name, counted from 0 */
export function pageWithEntries(
  state: FolderState,
  parent: Node,
  listing: Buffer[],
  offset: number,
  size: number,
): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  const fill = (look: (name: Buffer) => Buffer) => {
    for (let i = offset; i < Math.min(listing.length, offset + MAX_LOOKED_AT); i++) {
      const item = listing[i]!;
      length += ENTRY_BYTES + item.length;
      if (length > size) break;
      item.writeBigUInt64LE(BigInt(i + 1), 8);
      parts.push(i < DOTS ? UNTOLD : look(recordName(item)), item);
    }
  };
  try {
    withDirectory(state, parent, (directory) => fill((name) => lookAt(state, parent, directory, name)));
  } catch (error) {
    // The directory is gone, and its names are listed as they were when it was opened.
    if (parts.length > 0) throw error;
    fill(() => UNTOLD);
  }
  return Buffer.concat(parts);
}

/** Node 0: the kernel is told of the name alone, and looks it up when it needs it. */
const UNTOLD = Buffer.alloc(ENTRY_BYTES);

function lookAt(state: FolderState, parent: Node, directory: number, name: Buffer): Buffer {
  try {
    return tell(state, parent, directory, name);
  } catch {
    return UNTOLD;
  }
}
