import { randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** Tars in files. */

const CHUNK_BYTES = 256 * 1024;

/** Opens first, so that a missing file is the caller's `ENOENT` and not a broken request. */
export async function readTarFile(path: string): Promise<Readable> {
  const file = await open(path);
  return createReadStream(path, { fd: file, highWaterMark: CHUNK_BYTES });
}

/**
 * Writes a tar to a file, beside it first: what has the name is whole. Something that is no file (a pipe) is written to as it is.
 *
 * @param options `mode`: of a file. Default: what the process's umask leaves
 */
export async function writeTarFile(
  tar: Readable,
  path: string,
  { mode = 0o666 }: { mode?: number } = {},
): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there !== undefined && !there.isFile()) {
    await pipeline(tar, createWriteStream(path));
    return;
  }
  const partial = `${path}.${randomBytes(4).toString("hex")}.partial`;
  try {
    await pipeline(tar, createWriteStream(partial, { flags: "wx", mode, highWaterMark: CHUNK_BYTES }));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    tar.destroy();
  }
}
