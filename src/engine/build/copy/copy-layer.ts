/**
 * COPY and ADD as a layer, made on the host from one tree for another: no VM is needed, and nothing is unpacked.
 *
 * As BuildKit copies: of a directory its contents; into the destination if that is a directory or ends in a slash, else under its name;
 * missing directories are made for the same owner; those that are there stay as they are. Modes, times, attributes and hard links are
 * kept; who owned a file is not.
 */

import {
  type ByteString,
  fromBytes,
  type ImageTree,
  type Inode,
  isDirectory,
  show,
  TAR_END,
  type TarHeader,
  tarHeader,
  tarPadding,
  toBytes,
  treeEntry,
} from "../../image/index.ts";
import { type Position, wrong } from "../dockerfile/position.ts";
import type { Match, SourceTree } from "./copy-sources.ts";
import type { Owner } from "./owner.ts";
import { type ArchiveEntry, unpackable } from "./unpack.ts";

export interface CopyOptions {
  at: Position;
  source: SourceTree;
  matches: readonly Match[];
  /** Files that stand in the Dockerfile. */
  inline: readonly { name: string; contents: string }[];
  /** The image that is copied into. */
  image: ImageTree;
  /** Absolute. */
  destination: string;
  owner: Owner;
  mode: number | undefined;
  /** Archives are unpacked: ADD. */
  unpack: boolean;
  /** In place of all times, to compare what is copied and not when it was written. */
  mtime?: readonly [number, number];
}

/** The layer's tar, in pieces that are valid until the next. Errors: `invalid_argument` with the place. */
export async function* copyLayer(options: CopyOptions): AsyncGenerator<Buffer> {
  yield* new CopyLayer(options).write();
}

/** A directory with what is missing above it, all root's. */
export async function* directoryLayer(image: ImageTree, path: string, at: Position): AsyncGenerator<Buffer> {
  const nothing: SourceTree = { tree: image, what: "nothing", ignores: () => false };
  const owner = { uid: 0, gid: 0 };
  const options = {
    at,
    source: nothing,
    matches: [],
    inline: [],
    image,
    owner,
    mode: undefined,
    unpack: false,
  };
  yield* new CopyLayer({ ...options, destination: path }).directory();
}

class CopyLayer {
  readonly #options: CopyOptions;
  /** Directories that the layer has made. */
  readonly #made = new Set<ByteString>();
  /** First names of copied files, for hard links. */
  readonly #names = new Map<Inode, ByteString>();

  constructor(options: CopyOptions) {
    this.#options = options;
  }

  *directory(): Generator<Buffer> {
    yield* this.#parents(this.#real(fromBytes(Buffer.from(this.#options.destination))), true);
    yield TAR_END;
  }

  async *write(): AsyncGenerator<Buffer> {
    const { matches, inline, destination, source, unpack } = this.#options;
    const base = this.#real(fromBytes(Buffer.from(destination)));
    const several = matches.length + inline.length > 1;
    const into = /(^|\/)\.?$/.test(destination) || this.#isDirectory(base);
    if (several && !into) {
      throw wrong(
        this.#options.at,
        `several files cannot be copied to ${JSON.stringify(destination)}`,
        "End the destination in a slash.",
      );
    }
    for (const match of matches) {
      const entries =
        unpack && match.inode.type === "file"
          ? await unpackable(source.tree, match.inode, this.#options.at)
          : undefined;
      if (entries !== undefined) yield* this.#unpack(entries, base);
      else if (isDirectory(match.inode)) {
        yield* this.#parents(base, true);
        yield* this.#children(match.path, match.inode, base);
      } else yield* this.#file(match.inode, into ? join(base, match.name) : base);
    }
    for (const { name, contents } of inline) {
      const data = Buffer.from(contents);
      const path = into ? join(base, fromBytes(Buffer.from(name))) : base;
      yield* this.#parents(path);
      yield tarHeader({ type: "file", path, ...this.#attributes(0o644, [0, 0]), size: data.length });
      yield data;
      yield tarPadding(data.length);
    }
    yield TAR_END;
  }

  async *#children(path: ByteString, directory: Inode, target: ByteString): AsyncGenerator<Buffer> {
    const { source } = this.#options;
    for (const [name, child] of [...directory.children!].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const childPath = join(path, name);
      const ignored = source.ignores(toBytes(childPath).toString("utf8"));
      const childTarget = this.#real(join(target, name));
      if (isDirectory(child)) {
        // Below an ignored directory an exception may hold.
        if (!ignored) yield* this.#directory(child, childTarget);
        yield* this.#children(childPath, child, childTarget);
      } else if (!ignored) yield* this.#file(child, join(target, name));
    }
  }

  *#directory(inode: Inode, path: ByteString): Generator<Buffer> {
    yield* this.#parents(path);
    if (this.#made.has(path) || this.#isDirectory(path)) return;
    this.#refuseOver(path, "a directory");
    this.#made.add(path);
    yield tarHeader({
      type: "directory",
      path,
      ...this.#attributes(inode.mode, inode.mtime),
      xattrs: inode.xattrs,
    });
  }

  async *#file(inode: Inode, path: ByteString): AsyncGenerator<Buffer> {
    const { source } = this.#options;
    if (inode.type === "socket") return;
    yield* this.#parents(path);
    if (this.#isDirectory(path)) this.#refuse(path, "a file would take the place of a directory");
    const first = this.#names.get(inode);
    const { mtime, ...entry } = treeEntry(source.tree, path, inode);
    const attributes = this.#attributes(inode.mode, mtime);
    if (first !== undefined) {
      yield tarHeader({
        ...entry,
        ...attributes,
        type: "link",
        linkTarget: first,
        size: 0,
        sparse: undefined,
      });
      return;
    }
    this.#names.set(inode, path);
    yield tarHeader({ ...entry, ...attributes, ...(inode.type === "symlink" ? { mode: 0o777 } : {}) });
    if (inode.type !== "file") return;
    let bytes = 0;
    for await (const piece of source.tree.readExtents(inode)) {
      bytes += piece.length;
      yield piece;
    }
    yield tarPadding(bytes);
  }

  /** An archive's entries keep their own owners, as Docker unpacks them, unless another is asked for. */
  async *#unpack(entries: AsyncGenerator<ArchiveEntry>, base: ByteString): AsyncGenerator<Buffer> {
    yield* this.#parents(base, true);
    for await (const { header, body } of entries) {
      const path = join(base, header.path);
      if (header.path === "" || (header.type === "directory" && this.#isDirectory(path))) continue;
      yield* this.#parents(path);
      if (header.type === "directory") this.#made.add(path);
      const linkTarget = header.type === "link" ? join(base, header.linkTarget!) : header.linkTarget;
      yield tarHeader({ ...header, path, linkTarget, mtime: this.#options.mtime ?? header.mtime });
      let bytes = 0;
      for await (const piece of body()) {
        bytes += piece.length;
        yield piece;
      }
      yield tarPadding(bytes);
    }
  }

  /** Makes the directories above a path, and with `itself` the path, as far as they are missing. */
  *#parents(path: ByteString, itself = false): Generator<Buffer> {
    const names = path.split("/").filter((name) => name !== "");
    if (!itself) names.pop();
    let at = "";
    for (const name of names) {
      at = join(at, name);
      if (this.#made.has(at) || this.#isDirectory(at)) continue;
      this.#refuseOver(at, "a directory");
      this.#made.add(at);
      const { uid, gid } = this.#options.owner;
      yield tarHeader({ type: "directory", path: at, mode: 0o755, uid, gid, mtime: [0, 0] });
    }
  }

  #attributes(
    mode: number,
    mtime: readonly [number, number],
  ): Pick<TarHeader, "mode" | "uid" | "gid" | "mtime"> {
    return { mode: this.#options.mode ?? mode, ...this.#options.owner, mtime: this.#options.mtime ?? mtime };
  }

  /** Where a path really is in the image: through its links, as far as they lead to something. */
  #real(path: ByteString): ByteString {
    const { image } = this.#options;
    const names = path.split("/").filter((name) => name !== "" && name !== ".");
    for (let known = names.length; known >= 0; known--) {
      const found = image.lookup(names.slice(0, known).join("/"));
      if (found !== undefined)
        return [found.path, ...names.slice(known)].filter((name) => name !== "").join("/");
    }
    return names.join("/");
  }

  #isDirectory(path: ByteString): boolean {
    if (this.#made.has(path)) return true;
    const found = this.#options.image.lookup(path);
    return found !== undefined && isDirectory(found.inode);
  }

  #refuseOver(path: ByteString, what: string): void {
    if (this.#options.image.lookup(path, { last: "nofollow" }) !== undefined) {
      this.#refuse(path, `${what} would take the place of a file`);
    }
  }

  #refuse(path: ByteString, reason: string): never {
    throw wrong(this.#options.at, `${show(path)} cannot be copied to: ${reason}`);
  }
}

function join(directory: ByteString, name: ByteString): ByteString {
  return directory === "" ? name : name === "" ? directory : `${directory}/${name}`;
}
