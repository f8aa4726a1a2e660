/**
 * One level of a memory: the pages that were written since the level below.
 *
 *     <n>.runs    pairs of little-endian u32: first page, number of pages; ascending, not overlapping
 *     <n>.pages   those pages, one after the other
 *
 * A level may come from an archive, so nothing of it is believed: the file of runs is bounded by what the memory can have, every run
 * by the memory, and their sum is the length of the file of pages.
 */

import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { DELTAS, deltaName } from "./layout.ts";
import type { Segment } from "./segments.ts";

/** Bytes of a page in these files, on every host. */
export const PAGE_BYTES = 4096;
const RUN_BYTES = 8;

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
 * Writes level `level` of the chain in `directory`. `writePages` writes the pages of all runs, one after the other, to a file that it makes.
 * Returns the number of pages.
 *
 * @throws `internal` if it has written another number of bytes; errors of the file system as they are. What was written stays.
 */
export async function writeDelta(
  directory: string,
  level: number,
  runs: readonly Run[],
  writePages: (file: string) => Promise<void>,
): Promise<number> {
  await mkdir(join(directory, DELTAS), { recursive: true, mode: 0o700 });
  const files = deltaFiles(directory, level);
  await writePages(files.pages);
  const { size } = await stat(files.pages);
  const pages = await writeRuns(files.runs, runs);
  if (size === pages * PAGE_BYTES) return pages;
  throw new SandboxError("internal", `${size} bytes were written of ${pages} pages of memory`);
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
