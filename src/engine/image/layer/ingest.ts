/**
 * Takes a layer in: one pass over its tar, from whatever stream it comes, gives the blob (contents of its files),
 * the index (all else) and the recipe (what gives the same tar back). Memory stays constant, whatever the layer's size; nothing is unpacked to the host's
 * file system and no name of the layer ever becomes a name on the host.
 */

import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../../contract/errors.ts";
import { ByteReader, decompress, readTar, show, type TarEntry } from "../../../tar/index.ts";
import type { Digest } from "../digest.ts";
import { isKnownXattr, xattrBytes } from "../erofs/erofs-xattr.ts";
import { type ImageLimits, MAX_PATH_BYTES, MAX_XATTR_BYTES } from "../limits.ts";
import { BlobWriter, type FilePlace } from "./blob.ts";
import {
  END_LINE,
  encodeIndexHeader,
  encodeRow,
  HEADER_BYTES,
  type InodeRow,
  type LayerFacts,
  type LayerRow,
} from "./layer-index.ts";
import { cleanPath, pathMeaning, refuse } from "./layer-path.ts";
import { RecipeWriter } from "./layer-recipe.ts";

export interface IngestOptions {
  /** The layer's tar: plain, gzip or zstd. */
  source: AsyncIterable<Uint8Array>;
  /** A folder of our own, where the files `blob`, `tree` and `recipe` are made. Removed by the caller on failure. */
  directory: string;
  limits: ImageLimits;
  /** Hears of bytes before they are written, and throws if there is no room for them. */
  charge?: ((bytes: number) => void) | undefined;
  /** Called now and then with the uncompressed bytes and the entries so far. */
  onProgress?: ((bytes: number, entries: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** A layer that has been taken in. */
export interface IngestedLayer extends LayerFacts {
  /** Extended attributes that were left out because a guest could not make sense of them. */
  skippedXattrs: number;
}

const PROGRESS_ENTRIES = 256;

/**
 * Ingests one layer. All files are on the disk (fsync) when this returns.
 *
 * Errors: `invalid_argument` naming the entry, `unsupported` (compression), `cancelled`; errors of the file system
 * and of the source come out as they are.
 */
export async function ingestLayer(options: IngestOptions): Promise<IngestedLayer> {
  await using blobFile = await openNew(join(options.directory, "blob"));
  await using treeFile = await openNew(join(options.directory, "tree"));
  await using recipeFile = await openNew(join(options.directory, "recipe"));
  const { limits, signal, charge = () => {} } = options;
  const reader = new ByteReader(cancellable(decompress(options.source), signal), limits.maxLayerBytes);
  const recipe = new RecipeWriter(recipeFile, charge);
  reader.tap = recipe;
  const blob = new BlobWriter(blobFile, limits.maxBlobBytes, (...range) => recipe.copy(...range), charge);
  const rows = new RowWriter(treeFile, charge);
  const store = async (entry: TarEntry) => {
    reader.tap = undefined; // the blob has these bytes
    const place = await blob.append(entry);
    reader.tap = recipe;
    return place;
  };
  let entries = 0;
  let skippedXattrs = 0;
  try {
    for await (const entry of readTar(reader)) {
      if (++entries > limits.maxEntries) {
        throw new SandboxError(
          "invalid_argument",
          `the archive has more than ${limits.maxEntries} entries; the first too many is ${show(entry.path)}`,
        );
      }
      skippedXattrs += dropUnknownXattrs(entry);
      const row = await toRow(entry, store);
      if (row !== undefined) await rows.write(row);
      if (entries % PROGRESS_ENTRIES === 0) options.onProgress?.(reader.position, entries);
    }
    await reader.drain(); // the digest covers the padding too
    const digest: Digest = `sha256:${reader.digest()}`;
    const [blobBytes] = await Promise.all([blob.finish(), recipe.finish()]);
    const facts = { digest, tarBytes: reader.position, blobBytes, entries };
    await rows.finish(facts);
    options.onProgress?.(reader.position, entries);
    return { ...facts, skippedXattrs };
  } catch (error) {
    if (signal?.aborted) throw cancelled(signal);
    throw error;
  } finally {
    await Promise.all([blob.abandon(), recipe.abandon()]);
    await reader.close().catch(() => {});
  }
}

/** The row of an entry; undefined for what is no part of the image. Stores the contents of files. */
async function toRow(
  entry: TarEntry,
  store: (entry: TarEntry) => Promise<FilePlace>,
): Promise<LayerRow | undefined> {
  const path = cleanPath(entry.path);
  const meaning = pathMeaning(path);
  if (meaning.kind === "ignored") return undefined;
  if (meaning.kind !== "entry") return { type: meaning.kind, path: meaning.path };
  if (path === "" && entry.type !== "directory") throw refuse(entry.path, "only a directory can be the root");
  if (entry.type === "link") {
    return { type: "link", path, target: cleanPath(entry.linkTarget) };
  }
  const attributes = checkedAttributes(entry, path);
  switch (entry.type) {
    case "file":
      return { type: "file", ...attributes, ...(await store(entry)) };
    case "symlink": {
      const target = entry.linkTarget;
      if (target === "" || target.length > MAX_PATH_BYTES || target.includes("\0")) {
        throw refuse(entry.path, "the target of the symbolic link is empty, too long or holds a NUL byte");
      }
      // Linux knows no other mode for them (symlink(7)), whatever the tar says.
      return { type: "symlink", ...attributes, mode: 0o777, target };
    }
    case "char":
    case "block": {
      const device: [number, number] = [entry.deviceMajor, entry.deviceMinor];
      // include/linux/kdev_t.h: 12 bits and 20 bits.
      if (!(device[0] >= 0 && device[0] < 2 ** 12 && device[1] >= 0 && device[1] < 2 ** 20)) {
        throw refuse(entry.path, `${device.join(":")} is no device number`);
      }
      return { type: entry.type, ...attributes, device };
    }
    default:
      return { type: entry.type, ...attributes };
  }
}

function checkedAttributes(entry: TarEntry, path: string): Omit<InodeRow, "type"> {
  for (const id of [entry.uid, entry.gid]) {
    if (!(id >= 0 && id <= 0xffff_fffe)) throw refuse(entry.path, `${id} is no user or group number`);
  }
  const xattrs = entry.xattrs.size === 0 ? undefined : Object.fromEntries(entry.xattrs);
  if (xattrs !== undefined && xattrBytes(xattrs) > MAX_XATTR_BYTES) {
    throw refuse(entry.path, `its extended attributes take more than ${MAX_XATTR_BYTES} bytes`);
  }
  return {
    path,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtime: [entry.mtime[0], entry.mtime[1]],
    ...(xattrs === undefined ? {} : { xattrs }),
  };
}

function dropUnknownXattrs(entry: TarEntry): number {
  let dropped = 0;
  for (const name of entry.xattrs.keys()) {
    if (isKnownXattr(name)) continue;
    entry.xattrs.delete(name);
    dropped++;
  }
  return dropped;
}

/** Gathers rows into large writes. */
class RowWriter {
  readonly #file: FileHandle;
  #pending: string[] = [];
  #pendingChars = 0;
  // The header tells what is known last; its place is kept free.
  #position = HEADER_BYTES;
  readonly #charge: (bytes: number) => void;

  constructor(file: FileHandle, charge: (bytes: number) => void) {
    this.#file = file;
    this.#charge = charge;
  }

  async write(row: LayerRow): Promise<void> {
    const line = encodeRow(row);
    this.#pending.push(line);
    this.#pendingChars += line.length;
    if (this.#pendingChars > 256 * 1024) await this.#flush();
  }

  async #flush(): Promise<void> {
    const data = Buffer.from(this.#pending.join(""));
    this.#pending = [];
    this.#pendingChars = 0;
    this.#charge(data.length);
    await this.#writeAt(data, this.#position);
    this.#position += data.length;
  }

  async #writeAt(data: Buffer, position: number): Promise<void> {
    for (let at = 0; at < data.length; ) {
      at += (await this.#file.write(data, at, data.length - at, position + at)).bytesWritten;
    }
  }

  async finish(facts: LayerFacts): Promise<void> {
    this.#pending.push(`${END_LINE}\n`);
    await this.#flush();
    await this.#writeAt(Buffer.from(encodeIndexHeader(facts)), 0);
    await this.#file.sync();
  }
}

/** Ends at once when the signal fires, even if the source has stopped giving. */
async function* cancellable(
  source: AsyncGenerator<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  if (signal === undefined) {
    yield* source;
    return;
  }
  // Not a race with one promise for all: that would keep every chunk until it settles.
  let reject: ((reason: SandboxError) => void) | undefined;
  const onAbort = () => reject?.(cancelled(signal));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      if (signal.aborted) throw cancelled(signal);
      const { done, value } = await new Promise<IteratorResult<Uint8Array>>((resolve, fail) => {
        reject = fail;
        source.next().then(resolve, fail);
      });
      if (done) return;
      yield value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: a source that has stalled would never answer.
    void source.return(undefined).catch(() => {});
  }
}

function cancelled(signal: AbortSignal): SandboxError {
  return new SandboxError("cancelled", "taking in the image was cancelled", { cause: signal.reason });
}

function openNew(path: string): Promise<FileHandle> {
  return open(path, "wx+", 0o444);
}
