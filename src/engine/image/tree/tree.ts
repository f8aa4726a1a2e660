/**
 * Merges the indexes of an image's layers, lowest first, into one tree, as OCI's image-spec (layer.md) has it.
 *
 * For each layer, what it hides in the layers below goes first; then its entries are put in, in order, the later one
 * of two with the same path winning. A directory over a directory takes the new attributes and keeps its children;
 * anything else replaces what was there, with all below it. Paths go through symbolic links of the tree, which
 * never lead out of it.
 */

import { SandboxError } from "../../../contract/errors.ts";
import { type ByteString, show } from "../../../tar/index.ts";
import type { InodeRow, LayerChunks, LayerRow } from "../layer/layer-index.ts";
import { cleanPath, refuse } from "../layer/layer-path.ts";
import { MAX_DEPTH } from "../limits.ts";

/** An inode of the merged tree; several names may lead to one (hard links). */
export interface Inode {
  type: InodeRow["type"];
  mode: number;
  uid: number;
  gid: number;
  mtime: readonly [seconds: number, nanoseconds: number];
  xattrs: Readonly<Record<ByteString, ByteString>> | undefined;
  /** Which layer the contents lie in, counted from the lowest. */
  layer: number;
  size: number;
  block: number | undefined;
  chunks: LayerChunks | undefined;
  /** Target of a symlink. */
  target: ByteString | undefined;
  device: readonly [major: number, minor: number] | undefined;
  children: Map<ByteString, Inode> | undefined;
}

export interface Directory extends Inode {
  type: "directory";
  children: Map<ByteString, Inode>;
}

export function isDirectory(inode: Inode): inode is Directory {
  return inode.children !== undefined;
}

// What Linux allows in one path (include/linux/namei.h, MAXSYMLINKS).
const MAX_SYMLINKS = 40;

// Names looked up on the way, for each entry allowed. Real images need about ten; a layer whose every path runs
// through chains of long symlinks would need tens of thousands.
const STEPS_PER_ENTRY = 100;

export class TreeBuilder {
  readonly #root = implicitDirectory();
  readonly #maxEntries: number;
  #layer = 0;
  #entries = 0;
  #steps = 0;
  /** Most entries of a tar stand in the same directory as the one before. */
  #lastParent: { path: ByteString; directory: Directory } | undefined;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  /** The merged tree. */
  get root(): Directory {
    return this.#root;
  }

  /** Puts the next layer on top. `marks` are its whiteouts, `entries` all other rows. */
  async add(marks: AsyncIterable<LayerRow>, entries: AsyncIterable<LayerRow>): Promise<void> {
    // The lowest layer has nothing to hide. Marks never hide what their own layer brings, so they go first.
    if (this.#layer > 0) for await (const row of marks) this.#hide(row);
    for await (const row of entries) this.#put(row);
    this.#layer++;
  }

  /** Makes a directory and those above it, unless something else stands in the way. */
  ensureDirectory(path: ByteString): void {
    this.#lastParent = undefined;
    try {
      this.#walk(cleanPath(path), path);
    } catch (error) {
      if (!(error instanceof SandboxError)) throw error;
    }
  }

  #hide(row: LayerRow): void {
    this.#lastParent = undefined;
    const [parent, name] = this.#locate(row.path);
    if (parent === undefined) return;
    const found = name === "" ? parent : parent.children.get(name);
    if (found === undefined) return;
    if (row.type === "whiteout") {
      if (name === "") return;
      parent.children.delete(name);
      this.#entries -= countNames(found);
    } else if (isDirectory(found)) {
      this.#entries -= countNames(found) - 1;
      found.children.clear();
    }
  }

  #put(row: LayerRow): void {
    if (row.type === "whiteout" || row.type === "opaque") return;
    if (row.path === "") {
      if (row.type === "directory") Object.assign(this.#root, attributesOf(row, this.#layer));
      return;
    }
    const [parent, name] = this.#parentOf(row.path);
    const old = parent.children.get(name);
    let inode: Inode;
    if (row.type === "link") {
      inode = this.#linkTarget(row.path, row.target);
      if (inode === old) return;
    } else if (row.type === "directory") {
      if (old !== undefined && isDirectory(old)) {
        Object.assign(old, attributesOf(row, this.#layer));
        return;
      }
      inode = { ...attributesOf(row, this.#layer), children: new Map() };
    } else {
      inode = { ...attributesOf(row, this.#layer), children: undefined };
    }
    if (old !== undefined) {
      this.#entries -= countNames(old);
      // A directory or a symlink that goes may be part of the remembered parent's path.
      if (isDirectory(old) || old.type === "symlink") this.#lastParent = undefined;
    }
    this.#set(parent, name, inode, row.path);
  }

  #set(parent: Directory, name: ByteString, inode: Inode, path: ByteString): void {
    if (++this.#entries > this.#maxEntries)
      throw refuse(path, `the image has more than ${this.#maxEntries} entries`);
    parent.children.set(name, inode);
  }

  #linkTarget(path: ByteString, target: ByteString): Inode {
    const [parent, name] = this.#locate(target);
    const inode = name === "" ? parent : parent?.children.get(name);
    if (inode === undefined) throw refuse(path, `it is a hard link to ${show(target)}, which does not exist`);
    if (isDirectory(inode)) throw refuse(path, `it is a hard link to the directory ${show(target)}`);
    return inode;
  }

  /** The directory that holds `path`, made if it is missing, and the last name. */
  #parentOf(path: ByteString): [Directory, ByteString] {
    const slash = path.lastIndexOf("/");
    const parentPath = slash === -1 ? "" : path.slice(0, slash);
    if (this.#lastParent?.path !== parentPath) {
      this.#lastParent = { path: parentPath, directory: this.#walk(parentPath, path)! };
    }
    return [this.#lastParent.directory, path.slice(slash + 1)];
  }

  /** As #parentOf, but makes nothing: no directory if there is none. */
  #locate(path: ByteString): [Directory | undefined, ByteString] {
    const slash = path.lastIndexOf("/");
    return [this.#walk(slash === -1 ? "" : path.slice(0, slash), undefined), path.slice(slash + 1)];
  }

  /**
   * The directory at `path`, through symbolic links. A missing one is made when `makeFor` names the entry that needs
   * it, and is undefined else.
   */
  #walk(path: ByteString, makeFor: ByteString | undefined): Directory | undefined {
    let trail: Directory[] = [this.#root];
    const pending = path === "" ? [] : path.split("/").reverse();
    let symlinks = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (++this.#steps > this.#maxEntries * STEPS_PER_ENTRY) {
        throw refuse(makeFor ?? path, "the image's paths are too long and too entangled");
      }
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const directory = trail.at(-1)!;
      let child = directory.children.get(name);
      if (child === undefined) {
        if (makeFor === undefined) return undefined;
        child = implicitDirectory();
        this.#set(directory, name, child, makeFor);
      }
      if (isDirectory(child)) {
        trail.push(child);
        if (trail.length > MAX_DEPTH)
          throw refuse(makeFor ?? path, `it is deeper than ${MAX_DEPTH} directories`);
      } else if (child.type === "symlink") {
        if (++symlinks > MAX_SYMLINKS) {
          if (makeFor === undefined) return undefined;
          throw refuse(makeFor, "its path goes through too many symbolic links");
        }
        const target = child.target!;
        if (target.startsWith("/")) trail = [this.#root];
        pending.push(...target.split("/").reverse());
      } else {
        if (makeFor === undefined) return undefined;
        throw refuse(makeFor, `${show(name)} in its path is not a directory`);
      }
    }
    return trail.at(-1)!;
  }
}

/** A directory that no entry describes: as container runtimes make it, but for the time, which must not vary. */
function implicitDirectory(): Directory {
  const row = { type: "directory", path: "", mode: 0o755, uid: 0, gid: 0, mtime: [0, 0] } satisfies InodeRow;
  return { ...attributesOf(row as InodeRow, 0), type: "directory", children: new Map() };
}

function attributesOf(row: InodeRow, layer: number): Omit<Inode, "children"> {
  return {
    type: row.type,
    mode: row.mode,
    uid: row.uid,
    gid: row.gid,
    mtime: row.mtime,
    xattrs: row.xattrs,
    layer,
    size: row.type === "file" ? row.size : 0,
    block: row.type === "file" ? row.block : undefined,
    chunks: row.type === "file" ? row.chunks : undefined,
    target: row.type === "symlink" ? row.target : undefined,
    device: row.type === "char" || row.type === "block" ? row.device : undefined,
  };
}

/** The names that go when this one goes. */
function countNames(inode: Inode): number {
  let count = 0;
  const pending = [inode];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    count++;
    if (isDirectory(next)) for (const child of next.children.values()) pending.push(child);
  }
  return count;
}
