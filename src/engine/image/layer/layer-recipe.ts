/**
 * The recipe of a layer: what gives its exact tar back, together with the blob. A layer is known by the digest of that tar,
 * so an image can be pushed or saved only if the tar comes out again to the last byte, and keeping the tar itself
 * would double what a layer takes.
 *
 * A recipe is a sequence of records, compressed with zstd: bytes as they are (headers, padding, what is no part of the
 * image), and ranges of the blob (contents of files).
 *
 *     0x00  length: u32  bytes         as they are
 *     0x01  offset: u48  length: u48   from the blob
 *     0x02                             the end
 *
 * Only we write recipes; what is read back is checked against the layer's digest.
 */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import { SandboxError } from "../../../contract/errors.ts";
import type { Tap } from "../../../tar/index.ts";
import type { Digest } from "../digest.ts";

const LITERAL = 0;
const COPY = 1;
const END = 2;

const GATHER_BYTES = 64 * 1024;
const READ_BYTES = 1024 * 1024;

/** Takes down a recipe while its layer streams by. */
export class RecipeWriter implements Tap {
  readonly #file: FileHandle;
  readonly #compressor = createZstdCompress({
    // Headers are alike: the fastest level makes a tenth of them.
    params: { [constants.ZSTD_c_compressionLevel]: 1 },
  });
  readonly #written: Promise<number>;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #literal: Buffer[] = [];
  #literalBytes = 0;
  #copy: { offset: number; length: number } | undefined;

  constructor(file: FileHandle, onBytes: (bytes: number) => void = () => {}) {
    this.#file = file;
    this.#written = this.#drainInto(onBytes);
    // Reported where it is awaited, in finish().
    this.#written.catch(() => {});
  }

  /** These bytes of the tar are to be kept as they are. */
  take(bytes: Buffer): void {
    this.#endCopy();
    this.#literal.push(Buffer.from(bytes)); // the view is about to be reused
    this.#literalBytes += bytes.length;
    if (this.#literalBytes >= GATHER_BYTES) this.#endLiteral();
  }

  /** The next `length` bytes of the tar lie in the blob, from `offset` on. */
  copy(offset: number, length: number): void {
    this.#endLiteral();
    if (this.#copy !== undefined && this.#copy.offset + this.#copy.length === offset) {
      this.#copy.length += length;
      return;
    }
    this.#endCopy();
    this.#copy = { offset, length };
  }

  /** Waits while more is on its way to the file than should be kept in memory. */
  async drained(): Promise<void> {
    if (this.#pendingBytes >= GATHER_BYTES) await this.#flush();
  }

  /** Writes what is left; the file is on the disk (fsync) when this returns. Returns its size. */
  async finish(): Promise<number> {
    this.#endLiteral();
    this.#endCopy();
    this.#push(Buffer.of(END));
    await this.#flush();
    this.#compressor.end();
    const bytes = await this.#written;
    await this.#file.sync();
    return bytes;
  }

  /** Gives up. The file may be closed then. */
  async abandon(): Promise<void> {
    this.#compressor.destroy();
    await this.#written.catch(() => {});
  }

  #endLiteral(): void {
    if (this.#literalBytes === 0) return;
    const head = Buffer.alloc(5);
    head[0] = LITERAL;
    head.writeUInt32LE(this.#literalBytes, 1);
    this.#push(head, ...this.#literal);
    this.#literal = [];
    this.#literalBytes = 0;
  }

  #endCopy(): void {
    if (this.#copy === undefined) return;
    const record = Buffer.alloc(13);
    record[0] = COPY;
    record.writeUIntLE(this.#copy.offset, 1, 6);
    record.writeUIntLE(this.#copy.length, 7, 6);
    this.#copy = undefined;
    this.#push(record);
  }

  #push(...parts: Buffer[]): void {
    for (const part of parts) {
      this.#pending.push(part);
      this.#pendingBytes += part.length;
    }
  }

  async #flush(): Promise<void> {
    const data = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    if (this.#compressor.destroyed) await this.#written; // rejects with the reason
    if (!this.#compressor.write(data)) await Promise.race([once(this.#compressor, "drain"), this.#written]);
  }

  async #drainInto(onBytes: (bytes: number) => void): Promise<number> {
    let position = 0;
    for await (const chunk of this.#compressor as AsyncIterable<Buffer>) {
      onBytes(chunk.length);
      for (let at = 0; at < chunk.length; ) {
        at += (await this.#file.write(chunk, at, chunk.length - at, position + at)).bytesWritten;
      }
      position += chunk.length;
    }
    return position;
  }
}

export interface LayerFiles {
  digest: Digest;
  recipePath: string;
  blobPath: string;
}

/**
 * The layer's tar, in pieces of at most 1 MiB, each valid until the next is asked for.
 *
 * Errors: `not_found` when the layer is not there; `internal`, before the last piece, when what comes out is not the layer.
 */
export async function* restoreTar(layer: LayerFiles): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  // One piece is held back until the digest is known: whoever hashes or stores what he gets must not take it for whole.
  let held: Buffer | undefined;
  for await (const piece of pieces(layer)) {
    if (held !== undefined) {
      hash.update(held);
      yield held;
    }
    held = piece;
  }
  if (held !== undefined) hash.update(held);
  if (`sha256:${hash.digest("hex")}` !== layer.digest)
    throw damaged(layer.digest, "its contents have changed");
  if (held !== undefined) yield held;
}

async function* pieces(layer: LayerFiles): AsyncGenerator<Buffer> {
  await using blob = await openPart(layer.blobPath, layer.digest);
  const file = createReadStream(layer.recipePath);
  const plain = createZstdDecompress();
  file.on("error", (error) => plain.destroy(error));
  try {
    const reader = new RecordReader(file.pipe(plain)[Symbol.asyncIterator]());
    for (;;) {
      const kind = (await reader.read(1))[0];
      if (kind === END) return;
      if (kind === LITERAL) {
        for (let left = (await reader.read(4)).readUInt32LE(0); left > 0; ) {
          const bytes = await reader.read(Math.min(left, READ_BYTES));
          left -= bytes.length;
          yield bytes;
        }
      } else if (kind === COPY) {
        const record = await reader.read(12);
        yield* readRange(blob, record.readUIntLE(0, 6), record.readUIntLE(6, 6), layer.digest);
      } else throw new Error("a record of an unknown kind");
    }
  } catch (error) {
    if (error instanceof SandboxError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw missing(layer.digest, error);
    throw damaged(layer.digest, (error as Error).message, error);
  } finally {
    file.destroy();
    plain.destroy();
  }
}

async function* readRange(
  blob: FileHandle,
  offset: number,
  length: number,
  digest: Digest,
): AsyncGenerator<Buffer> {
  for (let at = offset; at < offset + length; ) {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, offset + length - at));
    const { bytesRead } = await blob.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw damaged(digest, "its blob is too short");
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Exact reads from chunks of any size. */
class RecordReader {
  readonly #source: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterator<Buffer>) {
    this.#source = source;
  }

  async read(size: number): Promise<Buffer> {
    const parts = [this.#rest];
    let have = this.#rest.length;
    while (have < size) {
      const { done, value } = await this.#source.next();
      if (done) throw new Error("its recipe is cut off");
      parts.push(value);
      have += value.length;
    }
    const all = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    this.#rest = all.subarray(size);
    return all.subarray(0, size);
  }
}

async function openPart(path: string, digest: Digest): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === "ENOENT" ? missing(digest, error) : error;
  }
}

function missing(digest: Digest, cause: unknown): SandboxError {
  return new SandboxError("not_found", `layer ${digest} is not in the store`, { cause });
}

function damaged(digest: Digest, reason: string, cause?: unknown): SandboxError {
  return new SandboxError("internal", `the stored layer ${digest} is damaged: ${reason}`, {
    hint: "Remove the images that use this layer, and import or pull them again.",
    cause,
  });
}
