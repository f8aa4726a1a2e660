/**
 * A state as one archive: a tar of its manifest and its files in the manifest's order, holes left out, in one zstd stream, encrypted if
 * there is a passphrase. Nothing but a few pieces of 1 MiB is in memory at a time.
 */

import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createZstdCompress } from "node:zlib";
import { SandboxError } from "../../contract/index.ts";
import { type SparseExtent, TAR_END, tarHeader, tarPadding } from "../../tar/index.ts";
import { dataExtents } from "./extents.ts";
import { MANIFEST_FILE } from "./layout.ts";
import { encodeManifest } from "./manifest.ts";
import { encrypt } from "./passphrase.ts";
import { readFully } from "./read-fully.ts";
import { type StoredState, titleOf } from "./verify.ts";

const PIECE_BYTES = 1024 * 1024;

export interface ExportOptions {
  /** Encrypts the archive. */
  passphrase?: string | undefined;
  signal?: AbortSignal | undefined;
}

interface OpenFile {
  path: string;
  file: FileHandle;
  size: number;
  extents: SparseExtent[];
}

/**
 * The archive. Its files are open when this resolves, so that the state may be removed meanwhile; they are closed when the stream ends
 * or is left. It begins to work at once.
 *
 * @throws `invalid_state` for a state that is used once; while it streams, `cancelled`
 */
export async function exportState(
  state: StoredState,
  { passphrase, signal }: ExportOptions,
): Promise<AsyncIterable<Uint8Array>> {
  if (!state.manifest.durable) {
    throw new SandboxError("invalid_state", `state '${titleOf(state)}' was made to be used once`, {
      hint: "Store a snapshot, and export that.",
    });
  }
  const files = await openAll(state);
  // Streams, not generators: one that nobody has begun to read is destroyed, and its files are closed.
  const tar = Readable.from(archive(encodeManifest(state.manifest), files), {
    objectMode: false,
    highWaterMark: PIECE_BYTES,
  });
  tar.once("close", () => void closeAll(files));
  const packed = createZstdCompress();
  pipeline(tar, packed, () => {});
  if (passphrase === undefined) return untilAborted(packed, signal);
  const encrypted = Readable.from(encrypt(packed, passphrase), { objectMode: false });
  encrypted.once("close", () => packed.destroy());
  return untilAborted(encrypted, signal);
}

function untilAborted(stream: Readable, signal: AbortSignal | undefined): Readable {
  const stop = () =>
    stream.destroy(new SandboxError("cancelled", "the export was cancelled", { cause: signal?.reason }));
  if (signal?.aborted) return stop();
  signal?.addEventListener("abort", stop, { once: true });
  return stream.once("close", () => signal?.removeEventListener("abort", stop));
}

async function openAll({ directory, manifest }: StoredState): Promise<OpenFile[]> {
  const files: OpenFile[] = [];
  try {
    for (const { path, bytes: size } of manifest.files) {
      const file = await open(join(directory, path), "r");
      files.push({ path, file, size, extents: [] });
      files.at(-1)!.extents = await dataExtents(join(directory, path));
    }
    return files;
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

async function* archive(manifest: string, files: readonly OpenFile[]): AsyncGenerator<Buffer> {
  const text = Buffer.from(manifest);
  yield header(MANIFEST_FILE, text.length);
  yield text;
  yield tarPadding(text.length);
  for (const { path, file, size, extents } of files) {
    const isWhole = extents.length === 1 && extents[0]!.length === size;
    yield header(path, size, isWhole || size === 0 ? undefined : extents);
    let stored = 0;
    for (const { offset, length } of extents) {
      for (let done = 0; done < length; ) {
        const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, length - done));
        await readFully(file, piece, offset + done, path);
        done += piece.length;
        yield piece;
      }
      stored += length;
    }
    yield tarPadding(stored);
  }
  yield TAR_END;
}

function header(path: string, size: number, sparse?: SparseExtent[]): Buffer {
  return tarHeader({ type: "file", path, mode: 0o600, uid: 0, gid: 0, mtime: [0, 0], size, sparse });
}

async function closeAll(files: readonly OpenFile[]): Promise<void> {
  await Promise.all(files.map(({ file }) => file.close()));
}
