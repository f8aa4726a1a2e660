import { type FileHandle, open } from "node:fs/promises";
import { writeFully } from "../write-fully.ts";

const CHUNK_BYTES = 1024 * 1024;
const HOLE_BYTES = 64 * 1024;

/** Copies a blank disk to `target`, leaves holes where it has zeroes, and makes it `sizeBytes` long. On disk when it returns. */
export async function copyBlank(source: string, target: string, sizeBytes: number): Promise<void> {
  await using from = await open(source, "r");
  await using to = await open(target, "wx", 0o644);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await from.read(chunk, 0, CHUNK_BYTES, at);
    if (bytesRead === 0) break;
    await writeUsed(to, chunk.subarray(0, bytesRead), at);
    at += bytesRead;
  }
  await to.truncate(sizeBytes);
  await to.sync();
}

async function writeUsed(to: FileHandle, chunk: Buffer, at: number): Promise<void> {
  for (let offset = 0; offset < chunk.length; offset += HOLE_BYTES) {
    const piece = chunk.subarray(offset, offset + HOLE_BYTES);
    if (piece.some((byte) => byte !== 0)) await writeFully(to, piece, at + offset);
  }
}
