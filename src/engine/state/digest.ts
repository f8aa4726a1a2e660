/**
 * The sum of a file of a state: sha256 over the sha256 of each MiB of it, one after the other. Not the plain sha256, because that can
 * be computed by one thread only, from the first byte to the last: the pieces are hashed beside the main thread, and the holes of a
 * memory of many GiB are not even read.
 */

import { createHash, webcrypto } from "node:crypto";
import { open } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { SandboxError } from "../../contract/index.ts";
import type { SparseExtent } from "../../tar/index.ts";
import { dataExtents } from "./extents.ts";
import { readFully } from "./read-fully.ts";

const PIECE_BYTES = 1024 * 1024;
const PIECES_UNTIL_REST = 1024;
/** Pieces in memory at once. */
const AT_ONCE = 4;

let zeroPiece: Promise<Buffer> | undefined;

/** In hex. @throws `cancelled` by the signal; errors of the file system as they are */
export async function fileDigest(
  path: string,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<string> {
  const extents = await dataExtents(path);
  await using file = await open(path, "r");
  const { size } = await file.stat();
  const total = createHash("sha256");
  const pieces: Promise<Buffer>[] = [];
  // One for all: whoever hashes a piece has taken a copy by the time that the next is read.
  const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size));
  try {
    for (let at = 0; at < size; at += PIECE_BYTES) {
      if (options.signal?.aborted) {
        throw new SandboxError("cancelled", "cancelled while a stored state was checked", {
          cause: options.signal.reason,
        });
      }
      // Holes alone would not let anybody else have the thread.
      if ((at / PIECE_BYTES) % PIECES_UNTIL_REST === 0) await setImmediate();
      const length = Math.min(PIECE_BYTES, size - at);
      if (length === PIECE_BYTES && !hasData(extents, at)) pieces.push(digestOfZeros());
      else {
        const bytes = buffer.subarray(0, length);
        await readFully(file, bytes, at, path);
        pieces.push(sha256(bytes));
      }
      if (pieces.length === AT_ONCE) total.update(await pieces.shift()!);
    }
    for (const piece of pieces.splice(0)) total.update(await piece);
  } finally {
    await Promise.allSettled(pieces);
  }
  return total.digest("hex");
}

async function sha256(bytes: Buffer): Promise<Buffer> {
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes));
}

function digestOfZeros(): Promise<Buffer> {
  zeroPiece ??= sha256(Buffer.alloc(PIECE_BYTES));
  return zeroPiece;
}

/** Whether any of the extents reaches into the piece at `at`. Those that end before it are dropped: pieces are asked for in order. */
function hasData(extents: SparseExtent[], at: number): boolean {
  let ended = 0;
  while (ended < extents.length && extents[ended]!.offset + extents[ended]!.length <= at) ended++;
  extents.splice(0, ended);
  return extents.length > 0 && extents[0]!.offset < at + PIECE_BYTES;
}
