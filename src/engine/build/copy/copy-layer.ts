/**
 * COPY and ADD as a layer, made on the host from one tree for another: no VM is needed, and nothing is unpacked.
 *
 * As BuildKit copies: of a directory its contents; into the destination if that is a directory or ends in a slash, else under its name;
 * missing directories are made for the same owner. The destination stays as it is if it is there; directories below it take over the
 * attributes of those that are copied onto them. Modes, times, attributes and hard links are kept; who owned a file is not.
 */

import {
  type ByteString,
  fromBytes,
  TAR_END,
  type TarHeader,
  tarHeader,
  tarPadding,
  toBytes,
} from "../../../tar/index.ts";
import { type ImageTree, type Inode, isDirectory, treeEntry } from "../../image/index.ts";
import { type Position, wrong } from "../dockerfile/position.ts";
import type { Match, SourceTree } from "./copy-sources.ts";
import type { Owner } from "./owner.ts";
import { join, type Place, parentOf, Target } from "./target.ts";
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
  /** Default: root, and for what an archive holds whoever owns it there. */
  owner: Owner | undefined;
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

/** A directory with what is missing above it, all of one owner. */
export async function* directoryLayer(
  image: ImageTree,
  path: string,
  owner: Owner,
  at: Position,
): AsyncGenerator<Buffer> {
  const target = new Target(image, at);
  yield* makeMissing(target, target.real(fromBytes(Buffer.from(path))), owner);
  yield TAR_END;
}

const ROOT: Owner = { uid: 0, gid: 0 };

function* makeMissing(target: Target, path: ByteString, owner: Owner): Generator<Buffer> {
  for (const missing of target.missing(path)) {
    target.made(missing);
    yield tarHeader({ type: "directory", path: missing, mode: 0o755, ...owner, mtime: [0, 0] });
  }
}

/** A directory that is being copied. */
interface Walk {
  path: ByteString;
  place: Place;
  left: Iterator<[ByteString, Inode]>;
}

class CopyLayer {
  readonly #options: CopyOptions;
  readonly #target: Target;
  /** First names of copied files, for hard links. */
  readonly #names = new Map<Inode, ByteString>();
  /** Directories on the way that are made when something comes into them. */
  #waiting: { inode: Inode; place: Place }[] = [];

  constructor(options: CopyOptions) {
    this.#options = options;
    this.#target = new Target(options.image, options.at);
  }

  async *write(): AsyncGenerator<Buffer> {
    const { matches, inline, destination, source, unpack } = this.#options;
    const base = this.#target.real(fromBytes(Buffer.from(destination)));
    const several = matches.length + inline.length > 1;
    const endsInSlash = /(^|\/)\.?$/.test(destination);
    const into = endsInSlash || this.#target.isDirectory(base);
    if (several && !into) {
      throw wrong(
        this.#options.at,
        `several files cannot be copied to ${JSON.stringify(destination)}`,
        "End the destination in a slash.",
      );
    }
    if (endsInSlash) yield* this.#missing(base);
    for (const match of matches) {
      const entries =
        unpack && match.inode.type === "file"
          ? await unpackable(source.tree, match.inode, this.#options.at)
          : undefined;
      if (entries !== undefined) yield* this.#unpack(entries, base);
      else if (isDirectory(match.inode)) yield* this.#contents(match, base);
      else {
        const path = into ? join(base, match.name) : base;
        yield* this.#missing(parentOf(path));
        yield* this.#file(match.inode, path, this.#target.at(path));
      }
    }
    for (const { name, contents } of inline) {
      const data = Buffer.from(contents);
      const path = into ? join(base, fromBytes(Buffer.from(name))) : base;
      yield* this.#missing(parentOf(path));
      this.#target.checkFile(path, this.#target.at(path));
      yield tarHeader({ type: "file", path, ...this.#attributes(0o644, [0, 0]), size: data.length });
      yield data;
      yield tarPadding(data.length);
    }
    yield TAR_END;
  }

  /** What a directory holds. Without recursion: a stranger's tree may be 2,048 directories deep. */
  async *#contents(match: Match, base: ByteString): AsyncGenerator<Buffer> {
    const { source } = this.#options;
    yield* this.#missing(base);
    const walks: Walk[] = [walk(match.path, match.inode, this.#target.place(base))];
    for (let top = walks.at(-1); top !== undefined; top = walks.at(-1)) {
      const next = top.left.next();
      if (next.done) {
        walks.pop();
        if (this.#waiting.at(-1)?.place === top.place) this.#waiting.pop();
        continue;
      }
      const [name, child] = next.value;
      const path = join(top.path, name);
      const shown = toBytes(path).toString("utf8");
      const ignored = source.ignores(shown);
      if (!isDirectory(child)) {
        if (ignored) continue;
        yield* this.#arrive();
        yield* this.#file(child, join(top.place.path, name), top.place.there?.children.get(name));
        continue;
      }
      // Below an ignored directory an exception may hold.
      if (ignored && !source.mayContainException(shown)) continue;
      const place = this.#target.within(top.place, name);
      this.#waiting.push({ inode: child, place });
      if (!ignored) yield* this.#arrive();
      walks.push(walk(path, child, place));
    }
  }

  *#arrive(): Generator<Buffer> {
    for (const { inode, place } of this.#waiting) {
      // What is behind a link of the image is not what was copied onto.
      if (place.linked) continue;
      this.#target.made(place.path);
      const attributes = this.#attributes(inode.mode, inode.mtime);
      yield tarHeader({ type: "directory", path: place.path, ...attributes, xattrs: inode.xattrs });
    }
    this.#waiting = [];
  }

  async *#file(inode: Inode, path: ByteString, there: Inode | undefined): AsyncGenerator<Buffer> {
    const { source } = this.#options;
    if (inode.type === "socket") return;
    this.#target.checkFile(path, there);
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

  /**
   * An archive's entries keep their own owners unless another is asked for. They go through links, also through the archive's own, and
   * what is missing above them is made when the layer is put on the image.
   */
  async *#unpack(entries: AsyncGenerator<ArchiveEntry>, base: ByteString): AsyncGenerator<Buffer> {
    const { owner, mtime } = this.#options;
    yield* this.#missing(base);
    for await (const { header, body } of entries) {
      if (header.path === "") continue;
      const path = join(base, header.path);
      // Where a link of the image leads to a directory, a directory of the archive does not take the link's place.
      if (
        header.type === "directory" &&
        this.#target.at(path)?.type === "symlink" &&
        this.#target.isDirectory(path)
      ) {
        continue;
      }
      const linkTarget = header.type === "link" ? join(base, header.linkTarget!) : header.linkTarget;
      yield tarHeader({ ...header, ...owner, path, linkTarget, mtime: mtime ?? header.mtime });
      let bytes = 0;
      for await (const piece of body()) {
        bytes += piece.length;
        yield piece;
      }
      yield tarPadding(bytes);
    }
  }

  #missing(path: ByteString): Generator<Buffer> {
    return makeMissing(this.#target, path, this.#options.owner ?? ROOT);
  }

  #attributes(
    mode: number,
    mtime: readonly [number, number],
  ): Pick<TarHeader, "mode" | "uid" | "gid" | "mtime"> {
    const { owner = ROOT } = this.#options;
    return { mode: this.#options.mode ?? mode, ...owner, mtime: this.#options.mtime ?? mtime };
  }
}

function walk(path: ByteString, inode: Inode, place: Place): Walk {
  const children = [...(inode.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  return { path, place, left: children[Symbol.iterator]() };
}
