import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { PAGE_BYTES, type PageRun } from "../machine.ts";

/**
 * What a loaded machine has changed in its memory. It maps the file that it was loaded from privately, so what it has changed are the
 * anonymous pages of that mapping: /proc/PID/pagemap tells them (Linux, Documentation/admin-guide/mm/pagemap.rst), /proc/PID/mem has them.
 * Thousands of short reads, which are ten times as fast in one thread of their own as over the event loop.
 *
 * The process may be its guest's: whatever it maps or says, nothing is read but its own memory, and no more than the file has.
 */

const PIECE_BYTES = 4 * 1024 * 1024;
/** Of the upper half of an entry: the page is there; it is swapped out; it belongs to a file. */
const [PRESENT, SWAPPED, OF_FILE] = [1 << 31, 1 << 30, 1 << 29];
/** Entries that are read at once. */
const ENTRIES = 64 * 1024;

export interface Mapping {
  address: number;
  bytes: number;
}

/** Where the whole of the file is mapped, in one piece or in several that follow each other. */
export function mappingOf(pid: number, memoryFile: string): Mapping | undefined {
  const { ino, size } = statSync(memoryFile);
  let address: number | undefined;
  let end = 0;
  for (const line of readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
    const [, from, to, offset, inode] = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ (\d+)/.exec(line) ?? [];
    if (Number(inode) !== ino) continue;
    const [begin, at] = [Number.parseInt(from!, 16), Number.parseInt(offset!, 16)];
    if (at === 0) {
      address = begin;
      end = begin;
    }
    if (address === undefined || begin !== end || at !== begin - address) continue;
    end = Number.parseInt(to!, 16);
    if (end - address >= size) return { address, bytes: size };
  }
  return undefined;
}

/** Runs of pages that the process has changed, ascending. */
export function changedRuns(pid: number, { address, bytes }: Mapping): PageRun[] {
  const map = openSync(`/proc/${pid}/pagemap`, "r");
  const runs: PageRun[] = [];
  const total = bytes / PAGE_BYTES;
  const entries = new Uint32Array(2 * Math.min(total, ENTRIES));
  try {
    for (let page = 0; page < total; ) {
      const count = Math.min(ENTRIES, total - page);
      fill(map, new Uint8Array(entries.buffer, 0, 8 * count), (address / PAGE_BYTES + page) * 8);
      addRuns(runs, entries, page, count);
      page += count;
    }
  } finally {
    closeSync(map);
  }
  return runs;
}

/** x86-64 and arm64 are little-endian: the upper half of an entry is its second word. */
function addRuns(runs: PageRun[], entries: Uint32Array, firstPage: number, count: number): void {
  let last = runs.at(-1);
  for (let i = 0; i < count; i++) {
    const flags = entries[2 * i + 1]!;
    const changed = (flags & SWAPPED) !== 0 || ((flags & PRESENT) !== 0 && (flags & OF_FILE) === 0);
    if (!changed) continue;
    const page = firstPage + i;
    if (last !== undefined && last.page + last.count === page) {
      last.count++;
    } else {
      last = { page, count: 1 };
      runs.push(last);
    }
  }
}

/** The pages of all runs in their order, in pieces. */
export function* readRuns(
  pid: number,
  { address }: Mapping,
  runs: readonly PageRun[],
): Generator<Uint8Array> {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    for (const piece of piecesOf(runs)) {
      const pages = piece.reduce((sum, { count }) => sum + count, 0);
      const buffer = new Uint8Array(pages * PAGE_BYTES);
      let at = 0;
      for (const { page, count } of piece) {
        const bytes = count * PAGE_BYTES;
        fill(memory, buffer.subarray(at, at + bytes), address + page * PAGE_BYTES);
        at += bytes;
      }
      yield buffer;
    }
  } finally {
    closeSync(memory);
  }
}

/** Runs that are read into one buffer; long ones are cut. */
function* piecesOf(runs: readonly PageRun[]): Generator<PageRun[]> {
  const most = PIECE_BYTES / PAGE_BYTES;
  let piece: PageRun[] = [];
  let pages = 0;
  for (const run of runs) {
    for (let from = 0; from < run.count; ) {
      const count = Math.min(run.count - from, most - pages);
      piece.push({ page: run.page + from, count });
      from += count;
      pages += count;
      if (pages < most) continue;
      yield piece;
      [piece, pages] = [[], 0];
    }
  }
  if (piece.length > 0) yield piece;
}

function fill(file: number, into: Uint8Array, position: number): void {
  for (let at = 0; at < into.length; ) {
    const bytesRead = readSync(file, into, at, into.length - at, position + at);
    if (bytesRead === 0) throw Object.assign(new Error("its memory ends too soon"), { code: "ESRCH" });
    at += bytesRead;
  }
}
