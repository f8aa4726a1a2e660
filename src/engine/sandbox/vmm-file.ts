import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { SandboxError } from "../../contract/index.ts";

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

/**
 * A file in a folder that a VMM writes to. A guest that owns its VMM may have put a link to a file of the host there, or a pipe that nobody
 * writes to, and may do so at any moment: it is opened once, and what is done with it is done with what was opened.
 */
export class VmmFile implements AsyncDisposable {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** @throws `internal` if it is no file, or is known by another name too */
  static async open(path: string, { writable = false } = {}): Promise<VmmFile> {
    let handle: FileHandle;
    try {
      handle = await open(path, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK);
    } catch (cause) {
      throw notOurs(path, cause);
    }
    const found = await handle.stat();
    if (found.isFile() && found.nlink === 1) return new VmmFile(handle);
    await handle.close();
    throw notOurs(path);
  }

  /** Path that leads to what was opened, whatever has become of its name; for programs that we start too. Good until it is closed. */
  get path(): string {
    return `/proc/${process.pid}/fd/${this.#handle.fd}`;
  }

  /** Makes it the VMM's. */
  async giveTo(uid: number): Promise<void> {
    await this.#handle.chown(uid, uid);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#handle.close();
  }
}

function notOurs(path: string, cause?: unknown): SandboxError {
  return new SandboxError(
    "internal",
    `'${path}' is not as it was made: the sandbox's VMM is not to be trusted`,
    {
      hint: "Remove the sandbox. What it has written may be a trap.",
      cause,
    },
  );
}
