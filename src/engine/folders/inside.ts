import { type BigIntStats, closeSync, constants, fstatSync, openSync } from "node:fs";
import { SandboxError } from "../../contract/errors.ts";
import { Errno, FuseError } from "./fuse-protocol.ts";
import { isEntryName } from "./request-body.ts";

/** open(2): a descriptor that stands for a place and opens nothing: no device wakes up, no FIFO blocks. */
const O_PATH = 0x200000;
const { O_DIRECTORY, O_NOFOLLOW } = constants;

/** Directories within each other. */
const MAX_DEPTH = 256;

/**
 * The only way to a host folder's files, and no way out of it. Node has no openat(2), but `/proc/self/fd/<directory>/<name>` is
 * one: the kernel starts at the open directory itself, whatever has become of its path. From the folder's own descriptor on,
 * every step is one name, which is neither `.` nor `..` and has no slash, taken with O_NOFOLLOW. So a path that leaves
 * cannot be said, and no link is ever followed, however others move things about meanwhile. Nothing in this room
 * uses a path that was not made by `at`.
 */
export class Inside {
  #root: number;

  /** @throws SandboxError `not_found`, `invalid_argument` (no folder), `permission_denied` */
  constructor(folder: string) {
    try {
      this.#root = openSync(folder, O_PATH | O_DIRECTORY);
    } catch (error) {
      throw cannotOpen(folder, error);
    }
  }

  close(): void {
    closeSync(this.#root);
    this.#root = -1; // leads nowhere, whatever comes late
  }

  /** Calls `use` with a descriptor of the directory that these names lead to; it is closed then. */
  directory<T>(names: readonly Buffer[], use: (directory: number) => T): T {
    if (names.length > MAX_DEPTH) throw new FuseError(Errno.ENAMETOOLONG);
    let fd = this.#root;
    try {
      for (const name of names) {
        const next = openSync(at(fd, name), O_PATH | O_DIRECTORY | O_NOFOLLOW);
        if (fd !== this.#root) closeSync(fd);
        fd = next;
      }
      return use(fd);
    } finally {
      if (fd !== this.#root) closeSync(fd);
    }
  }

  /**
   * Calls `use` with a descriptor of the file that these names lead to, whatever it is, and what it is. Of a link it
   * is the link. The descriptor reads and writes nothing; `itself` is its path.
   */
  file<T>(names: readonly Buffer[], use: (file: number, stat: BigIntStats) => T): T {
    const last = names.at(-1);
    if (last === undefined) return use(this.#root, fstatSync(this.#root, { bigint: true }));
    return this.directory(names.slice(0, -1), (directory) => entry(directory, last, use));
  }
}

/** As `Inside.file`, of an entry of an open directory. */
export function entry<T>(directory: number, name: Buffer, use: (file: number, stat: BigIntStats) => T): T {
  const fd = openSync(at(directory, name), O_PATH | O_NOFOLLOW);
  try {
    return use(fd, fstatSync(fd, { bigint: true }));
  } finally {
    closeSync(fd);
  }
}

/** The path of an entry of an open directory. What is called with it must not follow links at its end. */
export function at(directory: number, name: Buffer): Buffer {
  if (!isEntryName(name)) throw new FuseError(Errno.EINVAL);
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name]);
}

/** The path of an open file: it leads to that very file, also if it is a link. */
export function itself(file: number): string {
  return `/proc/self/fd/${file}`;
}

function cannotOpen(folder: string, cause: unknown): SandboxError {
  switch ((cause as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return new SandboxError("not_found", `there is no folder '${folder}' on the host`, { cause });
    case "ENOTDIR":
      return new SandboxError("invalid_argument", `'${folder}' on the host is no folder`, {
        hint: "Only folders can be mounted: mount the one that it is in.",
        cause,
      });
    default:
      return new SandboxError("permission_denied", `the folder '${folder}' cannot be opened`, { cause });
  }
}
