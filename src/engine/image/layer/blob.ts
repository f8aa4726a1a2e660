/**
 * Writes a layer's blob: the contents of its files, each from a 4 KiB boundary on, in the order of the tar.
 *
 * Two buffers take turns: one fills while the other is on its way to the disk. Long stretches that nothing is
 * written to become holes of the blob file, so that a sparse file costs what its data costs.
 */

import type { FileHandle } from "node:fs/promises";
import { SandboxError } from "../../../contract/errors.ts";
import type { SparseExtent, TarEntry } from "../../../tar/index.ts";
import { show } from "../../../tar/index.ts";
import type { FileRow } from "./layer-index.ts";

/** EROFS' block, and the unit of all addresses into blobs. */
export const BLOB_BLOCK_BYTES = 4096;

const BUFFER_BYTES = 1024 * 1024;
const MIN_HOLE_BYTES = 64 * 1024;
// The kernel starts to write dirty pages late; the fsync at the end would wait for nearly all of them. Asking for it
// along the way, in the background, lets the disk work while we parse.
const SYNC_BYTES = 32 * 1024 * 1024;

/** Hears of each piece of contents, in order: where in the blob it has gone. */
export type OnStored = (offset: number, length: number) => void;

/** Where the contents of a file lie, as the index has it. */
export type FilePlace = Pick<FileRow, "size" | "block" | "chunks">;

export class BlobWriter {
  readonly #file: FileHandle;
  readonly #maxBytes: number;
  readonly #onStored: OnStored;
  readonly #charge: (bytes: number) => void;
  #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #spare = Buffer.allocUnsafe(BUFFER_BYTES);
  #filled = 0;
  /** Where the buffer's first byte belongs in the file. */
  #base = 0;
  #writing: Promise<unknown> = Promise.resolve();
  #syncing: Promise<unknown> | undefined;
  #syncError: unknown;
  #unsynced = 0;

  /** `charge` hears of bytes before they are written, and throws if there is no room for them. */
  constructor(file: FileHandle, maxBytes: number, onStored: OnStored, charge: (bytes: number) => void) {
    this.#file = file;
    this.#maxBytes = maxBytes;
    this.#onStored = onStored;
    this.#charge = charge;
  }

  get #position(): number {
    return this.#base + this.#filled;
  }

  /** Appends the contents of a file and says where they lie. Reads the entry's body to its end. */
  async append(entry: TarEntry): Promise<FilePlace> {
    const { size } = entry;
    if (size === 0) return { size };
    const start = this.#position;
    const whole =
      entry.sparse === undefined || (entry.sparse.length === 1 && entry.sparse[0]!.length === size);
    if (whole) {
      this.#reserve(start + size, entry);
      for await (const piece of entry.body()) await this.#write(piece);
      await this.#moveTo(blockEnd(this.#position));
      return { size, block: start / BLOB_BLOCK_BYTES };
    }
    const extents = entry.sparse!;
    const bits = chunkBits(size, extents.length);
    const chunks = planRuns(size, extents, bits, start / BLOB_BLOCK_BYTES);
    const last = chunks.runs.at(-1);
    const end = last === undefined ? start : runEnd(last, bits, size);
    this.#reserve(end, entry);
    await this.#writeExtents(entry, extents, bits, chunks.runs);
    await this.#moveTo(end);
    return { size, chunks };
  }

  async #writeExtents(entry: TarEntry, extents: SparseExtent[], bits: number, runs: Run[]): Promise<void> {
    const chunkBytes = BLOB_BLOCK_BYTES * 2 ** bits;
    const body = entry.body();
    let piece = Buffer.alloc(0) as Buffer;
    let run = 0;
    for (const { offset, length } of extents) {
      while (offset >= (runs[run]![0] + runs[run]![1]) * chunkBytes) run++;
      const [first, , block] = runs[run]!;
      await this.#moveTo(block * BLOB_BLOCK_BYTES + offset - first * chunkBytes);
      for (let left = length; left > 0; ) {
        if (piece.length === 0) piece = (await body.next()).value as Buffer;
        const part = piece.subarray(0, left);
        await this.#write(part);
        left -= part.length;
        piece = piece.subarray(part.length);
      }
    }
    await body.return(undefined);
  }

  /** Writes what is left and gives the file its length. Returns the blob's size, a multiple of 4 KiB. */
  async finish(): Promise<number> {
    await this.#flush();
    await this.#writing;
    await this.#syncing;
    if (this.#syncError !== undefined) throw this.#syncError;
    await this.#file.truncate(this.#base);
    await this.#file.sync();
    return this.#base;
  }

  /** Waits for a write under way, so that the file can be closed; its error is of no interest any more. */
  async abandon(): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#syncing;
  }

  async #write(piece: Buffer): Promise<void> {
    this.#onStored(this.#position, piece.length);
    for (let at = 0; at < piece.length; ) {
      const copied = piece.copy(this.#buffer, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled === BUFFER_BYTES) await this.#flush();
    }
  }

  /** Goes on at `position`; what lies between reads as zeros. */
  async #moveTo(position: number): Promise<void> {
    const gap = position - this.#position;
    if (gap < MIN_HOLE_BYTES && this.#filled + gap < BUFFER_BYTES) {
      this.#buffer.fill(0, this.#filled, this.#filled + gap);
      this.#filled += gap;
    } else {
      await this.#flush();
      this.#base = position;
    }
  }

  async #flush(): Promise<void> {
    if (this.#filled === 0) return;
    await this.#writing;
    if (this.#unsynced >= SYNC_BYTES && this.#syncing === undefined) this.#syncInBackground();
    this.#charge(this.#filled);
    const [full, length, position] = [this.#buffer, this.#filled, this.#base];
    this.#writing = writeAll(this.#file, full.subarray(0, length), position);
    // The error is reported where the write is awaited; without this it would count as unhandled until then.
    this.#writing.catch(() => {});
    [this.#buffer, this.#spare] = [this.#spare, full];
    this.#base += length;
    this.#unsynced += length;
    this.#filled = 0;
  }

  #syncInBackground(): void {
    this.#unsynced = 0;
    this.#syncing = this.#file
      .datasync()
      .catch((error) => {
        // Kept: Linux reports a failed write to one fsync only, so the one at the end would succeed.
        this.#syncError ??= error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  #reserve(end: number, entry: TarEntry): void {
    if (end > this.#maxBytes) {
      throw new SandboxError(
        "invalid_argument",
        `entry ${show(entry.path)} makes the layer larger than ${this.#maxBytes} bytes`,
      );
    }
  }
}

async function writeAll(file: FileHandle, data: Buffer, position: number): Promise<void> {
  for (let at = 0; at < data.length; ) {
    at += (await file.write(data, at, data.length - at, position + at)).bytesWritten;
  }
}

type Run = [first: number, chunks: number, block: number];

/**
 * The chunk size of a file with holes, in bits above the block size. Small chunks follow the holes closely but cost
 * 4 bytes of metadata each. So there are at most 4096 of them, or 4 for each extent: metadata grows with what
 * the archive holds and not with the size that it claims.
 */
function chunkBits(size: number, extents: number): number {
  const most = Math.max(4096, 4 * extents);
  let bits = 0;
  while (Math.ceil(size / (BLOB_BLOCK_BYTES * 2 ** bits)) > most) bits++;
  return bits;
}

/** Lays out the chunks that hold data one after the other from `block` on. */
function planRuns(
  size: number,
  extents: SparseExtent[],
  bits: number,
  block: number,
): { bits: number; runs: Run[] } {
  const chunkBlocks = 2 ** bits;
  const chunkBytes = BLOB_BLOCK_BYTES * chunkBlocks;
  const runs: Run[] = [];
  for (const { offset, length } of extents) {
    const first = Math.floor(offset / chunkBytes);
    const last = Math.floor((offset + length - 1) / chunkBytes);
    const run = runs.at(-1);
    if (run !== undefined && first <= run[0] + run[1]) {
      run[1] = Math.max(run[1], last + 1 - run[0]);
    } else {
      const at = run === undefined ? block : runEnd(run, bits, size) / BLOB_BLOCK_BYTES;
      runs.push([first, last + 1 - first, at]);
    }
  }
  return { bits, runs };
}

/** Where a run ends in the blob, in bytes: a file's last chunk ends with the file's last block. */
function runEnd([first, chunks, block]: Run, bits: number, size: number): number {
  const chunkBytes = BLOB_BLOCK_BYTES * 2 ** bits;
  const fileEnd = Math.min((first + chunks) * chunkBytes, blockEnd(size));
  return block * BLOB_BLOCK_BYTES + fileEnd - first * chunkBytes;
}

function blockEnd(bytes: number): number {
  return Math.ceil(bytes / BLOB_BLOCK_BYTES) * BLOB_BLOCK_BYTES;
}
