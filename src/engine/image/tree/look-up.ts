/** Finds what stands at a path of a merged tree, as the kernel would in a process that is confined to it (chroot). */

import type { ByteString } from "../../../tar/index.ts";
import { type Directory, type Inode, isDirectory } from "./tree.ts";

// What Linux allows in one path (include/linux/namei.h, MAXSYMLINKS).
const MAX_SYMLINKS = 40;
// A path that grows through links stops here; a real one has a few dozen names.
const MAX_STEPS = 4096;

export interface LookUpOptions {
  /** Whether a symbolic link at the end of the path is followed. Default: `follow`. */
  last?: "follow" | "nofollow";
}

export interface Found {
  inode: Inode;
  /** Where it really is, below the root and without links; "" is the root. */
  path: ByteString;
}

/** What is there; undefined if nothing is, if a part of the path is no directory, or if links go round in circles. */
export function lookUp(root: Directory, path: ByteString, options: LookUpOptions = {}): Found | undefined {
  let trail: { name: ByteString; inode: Inode }[] = [];
  const here = () => trail.at(-1)?.inode ?? root;
  const pending = path.split("/").reverse();
  let symlinks = 0;
  let steps = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (++steps > MAX_STEPS) return undefined;
    if (name === "" || name === ".") {
      // `file/` and `file/.` name nothing.
      if (!isDirectory(here())) return undefined;
      continue;
    }
    const directory = here();
    if (!isDirectory(directory)) return undefined;
    if (name === "..") {
      trail.pop();
      continue;
    }
    const child = directory.children.get(name);
    if (child === undefined) return undefined;
    if (child.type === "symlink" && !(pending.length === 0 && options.last === "nofollow")) {
      if (++symlinks > MAX_SYMLINKS) return undefined;
      if (child.target!.startsWith("/")) trail = [];
      pending.push(...child.target!.split("/").reverse());
      continue;
    }
    trail.push({ name, inode: child });
  }
  return { inode: here(), path: trail.map(({ name }) => name).join("/") };
}
