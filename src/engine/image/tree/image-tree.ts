/**
 * The merged file system of some layers, to be looked at and read on the host: for building on it, copying from it and
 * exporting it. Nothing is unpacked; contents come from the layers' blobs.
 */

import { type FileHandle, open } from "node:fs/promises";
import { SandboxError } from "../../../contract/errors.ts";
import type { ByteString, SparseExtent } from "../../../tar/index.ts";
import type { Digest } from "../digest.ts";
import type { LayerFacts } from "../layer/layer-index.ts";
import type { HeldLayer, LayerStore } from "../layer/layer-store.ts";
import { DEFAULT_IMAGE_LIMITS } from "../limits.ts";
import { type Found, type LookUpOptions, lookUp } from "./look-up.ts";
import { mergeLayer } from "./merge-layer.ts";
import { type Directory, type Inode, TreeBuilder } from "./tree.ts";

const BLOCK_BYTES = 4096;
const READ_BYTES = 256 * 1024;

export class ImageTree implements AsyncDisposable {
  readonly root: Directory;
  readonly #held: readonly HeldLayer[];
  readonly #blobPath: (layer: Digest) => string;
  readonly #blobs = new Map<number, Promise<FileHandle>>();

  private constructor(root: Directory, held: readonly HeldLayer[], blobPath: (layer: Digest) => string) {
    this.root = root;
    this.#held = held;
    this.#blobPath = blobPath;
  }

  /** Merges layers that are in the store, lowest first. Errors: `not_found`, `internal`, `invalid_argument` if they do not merge. */
  static async open(store: LayerStore, layers: readonly Digest[]): Promise<ImageTree> {
    const held: HeldLayer[] = [];
    try {
      const builder = new TreeBuilder(DEFAULT_IMAGE_LIMITS.maxEntries);
      for (const layer of layers) {
        const hold = await store.hold(layer);
        if (hold === undefined) throw new SandboxError("not_found", `layer ${layer} is not in the store`);
        held.push(hold);
        await mergeLayer(builder, layer, store.indexPath(layer));
      }
      return new ImageTree(builder.root, held, (layer) => store.blobPath(layer));
    } catch (error) {
      for (const hold of held) hold[Symbol.dispose]();
      throw error;
    }
  }

  /** Its layers, lowest first. */
  get layers(): LayerFacts[] {
    return this.#held.map(({ facts }) => facts);
  }

  /** What stands at a path, as a process in a chroot would find it; undefined if nothing does. */
  lookup(path: ByteString, options?: LookUpOptions): Found | undefined {
    return lookUp(this.root, path, options);
  }

  /** The parts of a file that are stored, in order; all between them reads as zeros. */
  extents(file: Inode): SparseExtent[] {
    if (file.chunks === undefined) return file.size === 0 ? [] : [{ offset: 0, length: file.size }];
    const chunkBytes = BLOCK_BYTES * 2 ** file.chunks.bits;
    return file.chunks.runs.map(([first, chunks]) => {
      const offset = first * chunkBytes;
      return { offset, length: Math.min((first + chunks) * chunkBytes, file.size) - offset };
    });
  }

  /** The stored parts of a file, one after the other, in pieces that are valid until the next is asked for. */
  async *readExtents(file: Inode): AsyncGenerator<Buffer> {
    const { chunks } = file;
    for (const [i, { length }] of this.extents(file).entries()) {
      yield* this.#readBlob(
        file.layer,
        (chunks === undefined ? file.block! : chunks.runs[i]![2]) * BLOCK_BYTES,
        length,
      );
    }
  }

  /** The contents of a file, holes as zeros, in pieces that are valid until the next is asked for. */
  async *read(file: Inode): AsyncGenerator<Buffer> {
    const { chunks } = file;
    let position = 0;
    for (const [i, { offset, length }] of this.extents(file).entries()) {
      yield* zeros(offset - position);
      yield* this.#readBlob(
        file.layer,
        (chunks === undefined ? file.block! : chunks.runs[i]![2]) * BLOCK_BYTES,
        length,
      );
      position = offset + length;
    }
    yield* zeros(file.size - position);
  }

  /** The whole of a small file. Errors: `invalid_argument` if it has more than `maxBytes`. */
  async readSmall(file: Inode, maxBytes: number): Promise<Buffer> {
    if (file.size > maxBytes) {
      throw new SandboxError(
        "invalid_argument",
        `a file of ${file.size} bytes is too large to be read, ${maxBytes} are allowed`,
      );
    }
    const parts: Buffer[] = [];
    for await (const piece of this.read(file)) parts.push(Buffer.from(piece));
    return Buffer.concat(parts);
  }

  async *#readBlob(layer: number, offset: number, length: number): AsyncGenerator<Buffer> {
    const blob = await this.#blob(layer);
    for (let at = offset; at < offset + length; ) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, offset + length - at));
      const { bytesRead } = await blob.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) {
        throw new SandboxError(
          "internal",
          `the stored layer ${this.layers[layer]!.digest} is damaged: its blob is too short`,
          {
            hint: "Remove the images that use this layer, and import or pull them again.",
          },
        );
      }
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  #blob(layer: number): Promise<FileHandle> {
    let blob = this.#blobs.get(layer);
    if (blob === undefined) {
      const { digest } = this.#held[layer]!.facts;
      blob = open(this.#blobPath(digest), "r");
      blob.catch(() => {});
      this.#blobs.set(layer, blob);
    }
    return blob;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const blob of this.#blobs.values()) await (await blob.catch(() => undefined))?.close();
    this.#blobs.clear();
    for (const hold of this.#held) hold[Symbol.dispose]();
  }
}

function* zeros(length: number): Generator<Buffer> {
  const piece = Buffer.alloc(Math.min(length, READ_BYTES));
  for (let left = length; left > 0; left -= piece.length) yield piece.subarray(0, left);
}
