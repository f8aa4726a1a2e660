import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, type Stats } from "node:fs";
import { type ByteString, show, toBytes } from "../../tar/index.ts";
import { refusedBy } from "./host-error.ts";

const O_PATH = 0x200000;
const { O_DIRECTORY, O_NOFOLLOW } = constants;
const LINUX = process.platform === "linux";

/** Directories within each other. */
const MAX_DEPTH = 1024;

/**
 * Folders of this machine below one, for whoever makes files in them by names that a stranger gave. No link is followed, not even one
 * that somebody puts there meanwhile: on Linux each step is one name in a directory that is open, by way of
 * `/proc/self/fd/<directory>/<name>`, which is openat(2) for those who have none, with O_NOFOLLOW. Elsewhere each step is looked at
 * first; there a program of this machine, though no archive, could put a link between the look and the step.
 */
export class TreeBelow implements Disposable {
  readonly #root: number | string;
  /** The folder that was used last: archives name what is in one folder together. */
  #last: { names: string; at: number | string } | undefined;

  /** @param folder is followed if it is a link: it is the caller's own word */
  constructor(folder: string) {
    this.#root = LINUX ? openSync(folder, O_PATH | O_DIRECTORY) : folder;
  }

  [Symbol.dispose](): void {
    this.#forget();
    if (typeof this.#root === "number") closeSync(this.#root);
  }

  /**
   * A path of the entry that these names lead to, which is good until the next call. Whatever is called with it must not follow a link at
   * its end.
   *
   * @param make whether folders on the way are made where they are missing
   * @throws SandboxError `invalid_argument` for a way that leads through something that is no folder
   */
  entry(names: readonly ByteString[], make = false): Buffer {
    const folder = names.slice(0, -1);
    const key = folder.join("/");
    if (this.#last?.names !== key) {
      this.#forget();
      this.#last = { names: key, at: this.#walk(folder, make) };
    }
    return within(this.#last.at, names.at(-1)!);
  }

  #walk(names: readonly ByteString[], make: boolean): number | string {
    if (names.length > MAX_DEPTH) throw refusedBy("ENAMETOOLONG", show(names.slice(0, 3).join("/")));
    let at = this.#root;
    try {
      for (const [i, name] of names.entries()) {
        const next = step(at, name, make, names.slice(0, i + 1));
        if (typeof at === "number" && at !== this.#root) closeSync(at);
        at = next;
      }
      return at;
    } catch (error) {
      if (typeof at === "number" && at !== this.#root) closeSync(at);
      throw error;
    }
  }

  #forget(): void {
    if (typeof this.#last?.at === "number" && this.#last.at !== this.#root) closeSync(this.#last.at);
    this.#last = undefined;
  }
}

function step(at: number | string, name: ByteString, make: boolean, names: ByteString[]): number | string {
  const path = within(at, name);
  for (;;) {
    try {
      if (LINUX) return openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      if (lstatSync(path).isDirectory()) return path.toString("latin1");
      throw refusedBy("ENOTDIR", show(names.join("/")));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" || !make)
        throw code === undefined ? error : refusedBy(code, show(names.join("/")), error);
      mkdirSync(path, 0o777);
    }
  }
}

function within(at: number | string, name: ByteString): Buffer {
  const folder =
    typeof at === "number" ? Buffer.from(`/proc/self/fd/${at}/`) : Buffer.from(`${at}/`, "latin1");
  return Buffer.concat([folder, toBytes(name)]);
}

/** What is at a path, links not followed; undefined: nothing. */
export function whatIs(path: Buffer): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** Opens a folder by a path of `entry`, for what is done to it and not in it. */
export function openFolder<T>(path: Buffer, use: (fd: number, stat: Stats) => T): T {
  const fd = openSync(path, constants.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    return use(fd, fstatSync(fd));
  } finally {
    closeSync(fd);
  }
}
