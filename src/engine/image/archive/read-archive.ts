/**
 * Takes the parts of an image archive out of its tar, in one pass, whatever their order: JSON documents into memory, layers
 * straight into the store. Only afterwards do the documents tell which layer belongs where.
 *
 * Bounds: 4,096 documents of at most 8 MiB each and 64 MiB together, 65,536 entries; layers as the store bounds them. A part that is
 * no layer and no document is an error only if an image needs it.
 */

import { createHash } from "node:crypto";
import { SandboxError } from "../../../contract/errors.ts";
import { ByteReader, type ByteString, decompress, readTar, show, type TarEntry } from "../../../tar/index.ts";
import type { Digest } from "../digest.ts";
import { cleanPath } from "../layer/layer-path.ts";
import type { HeldLayer } from "../layer/layer-store.ts";
import { MAX_CONFIG_BYTES } from "../oci-image.ts";
import type { ImageStore } from "../store.ts";

const MAX_DOCUMENTS = 4096;
const MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024;
const MAX_ENTRIES = 65_536;
const MAX_ARCHIVE_BYTES = 2 ** 40;

/** A layer of the archive, in the store and held. */
export interface ArchiveLayer {
  layer: HeldLayer;
  /** sha256 of the part as it stands in the archive, compressed or not. */
  digest: Digest;
}

/** The parts of an archive by their paths. Lets go of the layers when it is disposed of. */
export class Archive implements Disposable {
  readonly #documents = new Map<ByteString, Buffer>();
  readonly #layers = new Map<ByteString, ArchiveLayer>();
  readonly #failures = new Map<ByteString, unknown>();
  /** Old versions of Docker link a layer that comes twice. */
  readonly #links = new Map<ByteString, ByteString>();
  #documentBytes = 0;

  /** A document, as it is; undefined if there is none. */
  document(path: ByteString): Buffer | undefined {
    return this.#documents.get(this.#follow(path));
  }

  /** The layer at a path. Errors: what kept it from being read; `invalid_argument` if there is none. */
  layer(path: ByteString): ArchiveLayer {
    const at = this.#follow(path);
    const layer = this.#layers.get(at);
    if (layer !== undefined) return layer;
    throw (
      this.#failures.get(at) ??
      new SandboxError(
        "invalid_argument",
        `the archive names the layer ${show(path)}, which it does not hold`,
        {
          hint: "The file is cut off, or its layers were left out when it was written.",
        },
      )
    );
  }

  #follow(path: ByteString): ByteString {
    let at = cleanPath(path);
    for (let steps = 0; steps < 8; steps++) {
      const next = this.#links.get(at);
      if (next === undefined) break;
      at = next;
    }
    return at;
  }

  /** @internal */
  addLink(path: ByteString, target: ByteString): void {
    this.#links.set(path, target);
  }

  /** @internal */
  addDocument(path: ByteString, contents: Buffer): void {
    this.#documentBytes += contents.length;
    if (this.#documents.size >= MAX_DOCUMENTS || this.#documentBytes > MAX_DOCUMENTS_BYTES) {
      throw new SandboxError("invalid_argument", "the archive holds too many documents to be one of images");
    }
    this.#documents.set(path, contents);
  }

  /** @internal */
  addLayer(path: ByteString, layer: ArchiveLayer): void {
    this.#layers.get(path)?.layer[Symbol.dispose]();
    this.#layers.set(path, layer);
  }

  /** @internal */
  addFailure(path: ByteString, error: unknown): void {
    this.#failures.set(path, error);
  }

  [Symbol.dispose](): void {
    for (const { layer } of this.#layers.values()) layer[Symbol.dispose]();
    this.#layers.clear();
  }
}

export interface ReadArchiveOptions {
  /** Plain, gzip or zstd. */
  source: AsyncIterable<Uint8Array>;
  signal?: AbortSignal | undefined;
  /** Called now and then with the bytes of the archive so far. */
  onProgress?: ((bytes: number) => void) | undefined;
}

/** Reads the archive to its end. Errors: `invalid_argument`, `unsupported`, `cancelled`, `resource_exhausted`. */
export async function readArchive(store: ImageStore, options: ReadArchiveOptions): Promise<Archive> {
  const { signal } = options;
  const reader = new ByteReader(decompress(options.source), MAX_ARCHIVE_BYTES);
  const archive = new Archive();
  let entries = 0;
  try {
    for await (const entry of readTar(reader)) {
      if (++entries > MAX_ENTRIES) {
        throw new SandboxError(
          "invalid_argument",
          `the archive has more than ${MAX_ENTRIES} entries: it is none of images`,
        );
      }
      signal?.throwIfAborted();
      await readPart(store, archive, entry, signal);
      options.onProgress?.(reader.position);
    }
    await reader.drain();
    return archive;
  } catch (error) {
    archive[Symbol.dispose]();
    if (signal?.aborted) {
      throw new SandboxError("cancelled", "loading the archive was cancelled", { cause: signal.reason });
    }
    throw error;
  } finally {
    await reader.close().catch(() => {});
  }
}

async function readPart(
  store: ImageStore,
  archive: Archive,
  entry: TarEntry,
  signal: AbortSignal | undefined,
): Promise<void> {
  const path = cleanPath(entry.path);
  if (entry.type === "symlink" || entry.type === "link") {
    const parent = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
    archive.addLink(
      path,
      cleanPath(entry.type === "link" ? entry.linkTarget : `${parent}/${entry.linkTarget}`),
    );
    return;
  }
  if (entry.type !== "file" || entry.size === 0 || entry.sparse !== undefined) return;
  const body = entry.body();
  const head = await firstBytes(body);
  if (isDocument(head.bytes)) {
    if (entry.size > MAX_CONFIG_BYTES) {
      throw new SandboxError(
        "invalid_argument",
        `${show(path)} in the archive is larger than ${MAX_CONFIG_BYTES} bytes`,
      );
    }
    const parts = [head.bytes];
    for await (const piece of head.rest) parts.push(Buffer.from(piece));
    archive.addDocument(path, Buffer.concat(parts));
    return;
  }
  const hash = createHash("sha256");
  const source = (async function* () {
    for await (const piece of prepend(head.bytes, head.rest)) {
      hash.update(piece);
      yield piece;
    }
  })();
  try {
    const layer = await store.ingestLayer({ source, what: `layer ${show(path)} of the archive`, signal });
    await source.return(undefined);
    for await (const piece of head.rest) hash.update(piece); // what stands behind the end of a compressed stream
    archive.addLayer(path, { layer, digest: `sha256:${hash.digest("hex")}` });
  } catch (error) {
    // Nobody may still be reading when the archive's reader goes on: `return` waits for a read under way.
    await source.return(undefined).catch(() => {});
    const isItsOwn =
      error instanceof SandboxError && ["invalid_argument", "unsupported"].includes(error.code);
    if (!isItsOwn) throw error;
    archive.addFailure(path, error);
  }
}

/** At least the first 512 bytes, if there are as many, and what follows them. */
async function firstBytes(
  body: AsyncGenerator<Buffer>,
): Promise<{ bytes: Buffer; rest: AsyncGenerator<Buffer> }> {
  const parts: Buffer[] = [];
  for (let have = 0; have < 512; ) {
    const { done, value } = await body.next();
    if (done) break;
    parts.push(Buffer.from(value));
    have += value.length;
  }
  return { bytes: Buffer.concat(parts), rest: body };
}

async function* prepend(head: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield head;
  // Not `yield*`: the rest must still be readable when this is left early.
  for (;;) {
    const { done, value } = await rest.next();
    if (done) return;
    yield value;
  }
}

/** JSON begins with a brace; a plain tar may too, if its first name does, but has its own mark at a fixed place. */
function isDocument(head: Buffer): boolean {
  const first = head.toString("latin1", 0, 64).trimStart()[0];
  return (first === "{" || first === "[") && head.toString("latin1", 257, 262) !== "ustar";
}
