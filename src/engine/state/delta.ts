/**
 * One level of a memory: the pages that were written since the level below.
 *
 *     <n>.runs    pairs of little-endian u32: first page, number of pages; ascending, not overlapping
 *     <n>.pages   those pages, one after the other
 *
 * A level may come from an archive, so nothing of it is believed: the file of runs is bounded by what the memory can have, every run
 * by the memory, and their sum is the length of the file of pages.
 */

import { type FileHandle, mkdir, open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { DELTAS, deltaName } from "./layout.ts";
import type { Segment } from "./segments.ts";

/** Bytes of a page in these files, on every host. */
export const PAGE_BYTES = 4096;
const RUN_BYTES = 8;
/** Written at once: what lies between is what memory is spent on. */
const BATCH_BYTES = 1024 * 1024;
/** IOV_MAX of Linux. */
const MAX_VECTORS = 1024;

/** Pages one after the other in the guest's memory. */
export interface Run {
  page: number;
  count: number;
}

/** Paths of one level's files. */
export interface DeltaFiles {
  runs: string;
  pages: string;
}

/** The files of level `n` below the folder of a state or of any chain that is laid out as one. */
export function deltaFiles(directory: string, level: number): DeltaFiles {
  const { runs, pages } = deltaName(level);
  return { runs: join(directory, runs), pages: join(directory, pages) };
}

/**
 * Writes level `level` of the chain in `directory`. `read` gives the bytes of a run, in buffers that are handed over: they are written
 * later, while the next are read. Returns the number of pages.
 *
 * @throws `internal` if `read` gives another number of bytes; errors of the file system as they are. What was written stays.
 */
export async function writeDelta(
  directory: string,
  level: number,
  runs: readonly Run[],
  read: (run: Run) => AsyncIterable<Buffer> | Iterable<Buffer>,
): Promise<number> {
  await mkdir(join(directory, DELTAS), { recursive: true, mode: 0o700 });
  const files = deltaFiles(directory, level);
  await using file = await open(files.pages, "wx", 0o600);
  await using batches = new Batches(file);
  for (const run of runs) {
    let bytes = 0;
    for await (const buffer of read(run)) {
      bytes += buffer.length;
      await batches.add(buffer);
    }
    if (bytes !== run.count * PAGE_BYTES) {
      throw new SandboxError(
        "internal",
        `${bytes} bytes were read of ${run.count} pages of memory at page ${run.page}`,
      );
    }
  }
  await batches.end();
  return await writeRuns(files.runs, runs);
}

/** The table of a level's runs. Returns the number of pages. */
export async function writeRuns(path: string, runs: readonly Run[]): Promise<number> {
  const table = Buffer.alloc(runs.length * RUN_BYTES);
  let pages = 0;
  for (const [i, { page, count }] of runs.entries()) {
    table.writeUInt32LE(page, i * RUN_BYTES);
    table.writeUInt32LE(count, i * RUN_BYTES + 4);
    pages += count;
  }
  await writeFile(path, table, { flag: "wx", mode: 0o600 });
  return pages;
}

/** Writes behind: one batch is on its way to the file while the next is filled. */
class Batches implements AsyncDisposable {
  readonly #file: FileHandle;
  #buffers: Buffer[] = [];
  #bytes = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async add(buffer: Buffer): Promise<void> {
    this.#buffers.push(buffer);
    this.#bytes += buffer.length;
    if (this.#bytes >= BATCH_BYTES || this.#buffers.length >= MAX_VECTORS) await this.#flush();
  }

  async end(): Promise<void> {
    await this.#flush();
    await this.#writing;
  }

  /** Whoever gave up must not close the file below a write. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.catch(() => {});
  }

  async #flush(): Promise<void> {
    await this.#writing;
    const buffers = this.#buffers;
    [this.#buffers, this.#bytes] = [[], 0];
    this.#writing = writeAll(this.#file, buffers);
    // It is looked at by the next who waits for it.
    this.#writing.catch(() => {});
  }
}

/** A write may be cut short, by a signal or by a disk that is nearly full. */
async function writeAll(file: FileHandle, buffers: Buffer[]): Promise<void> {
  let left = buffers.filter(({ length }) => length > 0);
  while (left.length > 0) {
    let { bytesWritten } = await file.writev(left);
    let whole = 0;
    while (whole < left.length && bytesWritten >= left[whole]!.length) bytesWritten -= left[whole++]!.length;
    left = left.slice(whole);
    if (bytesWritten > 0) left[0] = left[0]!.subarray(bytesWritten);
  }
}

/**
 * The runs of a level, as segments. `memoryBytes`: size of the memory that they belong to.
 * @throws `internal` saying what is wrong with which file
 */
export async function readRuns(files: DeltaFiles, level: number, memoryBytes: number): Promise<Segment[]> {
  const memoryPages = Math.floor(memoryBytes / PAGE_BYTES);
  const { size } = await stat(files.runs);
  // Runs that touch may be apart, so each page can be one.
  if (size % RUN_BYTES !== 0 || size / RUN_BYTES > memoryPages)
    throw damaged(files.runs, `it has ${size} bytes`);
  const table = await readFile(files.runs);
  const segments: Segment[] = [];
  let [end, from] = [0, 0];
  for (let at = 0; at + RUN_BYTES <= table.length; at += RUN_BYTES) {
    const [page, count] = [table.readUInt32LE(at), table.readUInt32LE(at + 4)];
    if (count === 0 || page < end || page + count > memoryPages) {
      throw damaged(files.runs, `run ${at / RUN_BYTES} (${count} pages at ${page}) is out of place`);
    }
    segments.push({ page, count, level, from });
    end = page + count;
    from += count;
  }
  const { size: pagesBytes } = await stat(files.pages);
  if (pagesBytes !== from * PAGE_BYTES) {
    throw damaged(files.pages, `it has ${pagesBytes} bytes, its runs say ${from * PAGE_BYTES}`);
  }
  return segments;
}

function damaged(file: string, how: string): SandboxError {
  return new SandboxError("internal", `stored memory is damaged: ${file}: ${how}`);
}
