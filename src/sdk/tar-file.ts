import { randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { SandboxError } from "../contract/errors.ts";
import type { ApiRequest, Connection } from "./connection.ts";
import { cancelled } from "./deadline.ts";

/** Tars between this program's files and the daemon. */

const CHUNK_BYTES = 256 * 1024;

/** Opens first, so that a missing file is the caller's `ENOENT` and not a broken request. */
export async function readTarFile(path: string): Promise<Readable> {
  const file = await open(path);
  return createReadStream(path, { fd: file, highWaterMark: CHUNK_BYTES });
}

/** Asks for a tar. The stream fails if the daemon breaks it off; destroying it ends the request. */
export async function downloadTar(connection: Connection, request: ApiRequest): Promise<Readable> {
  const response = await connection.stream(request);
  const output = new PassThrough({ highWaterMark: CHUNK_BYTES });
  // Whoever reads it hears of a failure, then if not now. One between two awaits of the caller must not end the program.
  output.on("error", () => {});
  response.once("error", (cause) => {
    output.destroy(
      request.signal?.aborted
        ? cancelled(request.signal, cause)
        : new SandboxError("unavailable", `could not ${request.purpose}: the daemon broke off half-way`, {
            hint: `read ${connection.home}/daemon.log`,
            cause,
          }),
    );
  });
  response.pipe(output);
  output.once("close", () => response.destroy());
  return output;
}

/** Writes a tar to a file, beside it first: what has the name is whole. Something that is no file (a pipe) is written to as it is. */
export async function writeTarFile(tar: Readable, path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there !== undefined && !there.isFile()) {
    await pipeline(tar, createWriteStream(path));
    return;
  }
  const partial = `${path}.${randomBytes(4).toString("hex")}.partial`;
  try {
    await pipeline(tar, createWriteStream(partial, { flags: "wx", highWaterMark: CHUNK_BYTES }));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    tar.destroy();
  }
}
