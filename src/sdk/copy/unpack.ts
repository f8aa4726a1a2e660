import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { SandboxError } from "../../contract/errors.ts";
import {
  ByteReader,
  type ByteString,
  fromBytes,
  readTar,
  show,
  type TarEntry,
  toBytes,
} from "../../tar/index.ts";
import { entryNames } from "./entry-names.ts";
import { refusedBy } from "./host-error.ts";
import { openFolder, TreeBelow, whatIs } from "./tree-below.ts";

/**
 * Unpacks the archive of a sandbox, which may be hostile, below a folder of this machine.
 *
 * - Nothing outside of the folder is touched: see TreeBelow, and entryNames for the names.
 * - What is written to is always new: a file that is there is removed first, never opened. So a hard link of the archive's to a
 *   file that was there before gives it a second name, and never changes it.
 * - Devices, FIFOs and the bits setuid and setgid are not made; all belongs to who unpacks, unless the owners are asked for.
 * - Memory is that of one header (readTar's bounds) and one piece, and of the folders that were made, whose modes and times come last.
 */
export interface UnpackOptions {
  /** Folder to unpack in; it is there. */
  folder: string;
  /** First name of all that is in the archive, which is replaced by `name`; undefined: there is none. */
  top: string | undefined;
  name: string | undefined;
  /** Whether owners are taken from the archive; only root may give files away. */
  owners: boolean;
  onProgress?: ((progress: CopyProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface CopyProgress {
  /** Entries so far: files, folders, links. */
  entries: number;
  /** Bytes of files so far, without holes. */
  bytes: number;
}

export interface Unpacked extends CopyProgress {
  /** What was left out, because it is neither a file nor a folder nor a link; at most 100 names. */
  skipped: string[];
}

const MAX_SKIPPED = 100;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;

/** @throws SandboxError `invalid_argument` for what is no honest archive; what this machine has against a file */
export async function unpack(source: AsyncIterable<Uint8Array>, options: UnpackOptions): Promise<Unpacked> {
  using tree = new TreeBelow(options.folder);
  return await new Unpacking(tree, options).run(new ByteReader(source, Number.MAX_SAFE_INTEGER));
}

/** A folder that was made: no more of it than is needed in the end, an archive may have a million. */
interface MadeFolder extends Pick<TarEntry, "mode" | "uid" | "gid" | "mtime"> {
  path: ByteString;
  inode: number;
}

class Unpacking {
  readonly #tree: TreeBelow;
  readonly #options: UnpackOptions;
  readonly #top: ByteString | undefined;
  readonly #name: ByteString | undefined;
  readonly #folders: MadeFolder[] = [];
  readonly #done: Unpacked = { entries: 0, bytes: 0, skipped: [] };

  constructor(tree: TreeBelow, options: UnpackOptions) {
    this.#tree = tree;
    this.#options = options;
    this.#top = options.top === undefined ? undefined : fromBytes(Buffer.from(options.top));
    this.#name = options.name === undefined ? undefined : fromBytes(Buffer.from(options.name));
  }

  async run(reader: ByteReader): Promise<Unpacked> {
    try {
      for await (const entry of readTar(reader)) {
        this.#options.signal?.throwIfAborted();
        const names = this.#namesOf(entry.path);
        // The folder that all goes into is there, and stays as it is.
        if (names.length > 0) await this.#make(names, entry);
        this.#done.entries += 1;
        this.#options.onProgress?.(this.#done);
      }
      await reader.drain();
    } finally {
      await reader.close();
      // Also after a failure: what is there should be as it was meant.
      for (const folder of this.#folders.reverse()) this.#finish(folder);
    }
    return this.#done;
  }

  #namesOf(path: ByteString): ByteString[] {
    return entryNames(path, this.#top, this.#name);
  }

  async #make(names: ByteString[], entry: TarEntry): Promise<void> {
    try {
      if (entry.type === "directory") return this.#folder(names, entry);
      if (entry.type === "file") return await this.#file(names, entry);
      if (entry.type === "link") return this.#link(names, entry);
      if (entry.type === "symlink") return this.#symlink(names, entry);
      if (this.#done.skipped.length < MAX_SKIPPED) this.#done.skipped.push(show(entry.path));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (error instanceof SandboxError || typeof code !== "string" || !/^E[A-Z]+$/.test(code)) throw error;
      throw refusedBy(code, show(entry.path), error);
    }
  }

  #folder(names: ByteString[], entry: TarEntry): void {
    const path = this.#tree.entry(names, true);
    const there = whatIs(path);
    if (there?.isDirectory()) return;
    if (there !== undefined) throw this.#inTheWay(entry, "a file, and the source's is a folder");
    // Ours alone until it is finished: what is in it may be more private than itself.
    mkdirSync(path, 0o700);
    const { mode, uid, gid, mtime } = entry;
    this.#folders.push({ path: names.join("/"), mode, uid, gid, mtime, inode: whatIs(path)!.ino });
  }

  async #file(names: ByteString[], entry: TarEntry): Promise<void> {
    const path = this.#clear(names, entry);
    const fd = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
    let whole = false;
    try {
      await this.#write(fd, entry);
      if (this.#options.owners) fchownSync(fd, entry.uid, entry.gid);
      fchmodSync(fd, entry.mode & 0o777);
      futimesSync(fd, ...timesOf(entry));
      whole = true;
    } finally {
      closeSync(fd);
      // Half of a file must not look like the whole.
      if (!whole) unlinkSync(this.#tree.entry(names));
    }
  }

  async #write(fd: number, entry: TarEntry): Promise<void> {
    const extents = entry.sparse ?? [{ offset: 0, length: entry.storedBytes }];
    const pieces = extents[Symbol.iterator]();
    let extent = { offset: 0, length: 0 };
    for await (const piece of entry.body()) {
      this.#options.signal?.throwIfAborted();
      for (let at = 0; at < piece.length; ) {
        while (extent.length === 0) extent = { ...pieces.next().value! };
        const length = Math.min(extent.length, piece.length - at);
        const written = writeSync(fd, piece, at, length, extent.offset);
        at += written;
        extent = { offset: extent.offset + written, length: extent.length - written };
      }
      this.#done.bytes += piece.length;
      this.#options.onProgress?.(this.#done);
    }
    if (entry.sparse !== undefined) ftruncateSync(fd, entry.size);
  }

  #link(names: ByteString[], entry: TarEntry): void {
    const target = this.#namesOf(entry.linkTarget);
    if (target.length === 0 || target.join("/") === names.join("/"))
      throw this.#inTheWay(entry, "no file to link to");
    const path = Buffer.from(this.#clear(names, entry));
    // Both are good only until the next: the second is named through a tree of its own.
    using other = new TreeBelow(this.#options.folder);
    linkSync(other.entry(target), path);
  }

  #symlink(names: ByteString[], entry: TarEntry): void {
    const path = this.#clear(names, entry);
    symlinkSync(toBytes(entry.linkTarget), path);
    if (this.#options.owners) lchownSync(path, entry.uid, entry.gid);
    lutimesSync(path, ...timesOf(entry));
  }

  /** Removes what has the name, unless it is a folder. */
  #clear(names: ByteString[], entry: TarEntry): Buffer {
    const path = this.#tree.entry(names, true);
    const there = whatIs(path);
    if (there?.isDirectory()) throw this.#inTheWay(entry, "a folder, and the source's is none");
    if (there !== undefined) unlinkSync(path);
    return path;
  }

  #finish(folder: MadeFolder): void {
    try {
      openFolder(this.#tree.entry(folder.path.split("/")), (fd, stat) => {
        if (stat.ino !== folder.inode) return;
        if (this.#options.owners) fchownSync(fd, folder.uid, folder.gid);
        fchmodSync(fd, folder.mode & 0o777);
        futimesSync(fd, ...timesOf(folder));
      });
    } catch {
      // Somebody else has removed or replaced it: it is not ours any more.
    }
  }

  #inTheWay(entry: TarEntry, what: string): SandboxError {
    return new SandboxError(
      "invalid_argument",
      `${show(entry.path)} cannot be copied: on this machine there is ${what}`,
    );
  }
}

function timesOf({ mtime: [seconds, nanoseconds] }: Pick<TarEntry, "mtime">): [number, number] {
  const time = seconds + nanoseconds / 1e9;
  return [time, time];
}
