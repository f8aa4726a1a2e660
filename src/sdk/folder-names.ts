import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { SandboxError } from "../contract/errors.ts";

/** Names of what is in a folder, as bytes: they need not be UTF-8. */

/** Says what is left out; paths are relative to the folder, `a/b`. */
export interface FolderFilter {
  sends(path: string): boolean;
  /** Whether to look into a folder that is not sent itself. */
  entersUnsent(path: string): boolean;
}

/** Deeper than any path that a system call takes. */
const MAX_DEPTH = 4096;
const DOT = Buffer.from(".");
const SLASH = Buffer.from("/");

/**
 * `./`, then all that is below: a folder before what is in it, in the order of bytes. Sockets are left out, no tar can hold them.
 *
 * @throws SandboxError that names the path, for a folder that cannot be read
 */
export async function* folderNames(folder: string, filter?: FolderFilter): AsyncGenerator<Buffer> {
  yield Buffer.from("./");
  yield* below(folder, DOT, "", [], filter, 0);
}

/** @param unsent folders above that were not sent: they are, before the first thing in them that is */
async function* below(
  folder: string,
  prefix: Buffer,
  path: string,
  unsent: Buffer[],
  filter: FolderFilter | undefined,
  depth: number,
): AsyncGenerator<Buffer> {
  if (depth > MAX_DEPTH) return;
  for (const entry of await entriesOf(Buffer.concat([Buffer.from(folder), SLASH, prefix]))) {
    if (entry.isSocket()) continue;
    const name = Buffer.concat([prefix, SLASH, entry.name]);
    const entryPath = path === "" ? entry.name.toString() : `${path}/${entry.name}`;
    const sent = filter?.sends(entryPath) ?? true;
    if (sent) {
      yield* unsent.splice(0);
      yield name;
    }
    if (entry.isDirectory() && (sent || filter!.entersUnsent(entryPath))) {
      const waiting = sent ? [] : [...unsent, name];
      for await (const inner of below(folder, name, entryPath, waiting, filter, depth + 1)) {
        unsent.length = 0;
        yield inner;
      }
    }
  }
}

async function entriesOf(folder: Buffer): Promise<Dirent<Buffer>[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true, encoding: "buffer" });
    return entries.sort((a, b) => Buffer.compare(a.name, b.name));
  } catch (cause) {
    const denied = ["EACCES", "EPERM"].includes((cause as NodeJS.ErrnoException).code ?? "");
    const path = folder.toString().replace(/\/\.(?=\/|$)/, "");
    throw new SandboxError(
      denied ? "permission_denied" : "invalid_argument",
      `cannot read the folder ${path}: ${(cause as Error).message}`,
      { cause },
    );
  }
}
