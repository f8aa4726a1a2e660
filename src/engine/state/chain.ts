/** A stored memory: a base, and the levels that were written on top of it. */

import { link, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type DeltaFiles, deltaFiles, PAGE_BYTES } from "./delta.ts";
import { BASE_FILE, DELTAS, MAX_LEVELS } from "./layout.ts";

/** Paths of the files of a stored memory. */
export interface MemoryChain {
  base: string;
  /** Oldest first. */
  deltas: readonly DeltaFiles[];
}

/** The chain of a folder that has `levels` levels, of a state or of any that `linkChain` made. */
export function chainOf(directory: string, levels: number): MemoryChain {
  const deltas = Array.from({ length: levels }, (_, level) => deltaFiles(directory, level));
  return { base: join(directory, BASE_FILE), deltas };
}

/** Hard-links a chain into `directory`, laid out as in a state: it stays there, whatever becomes of where it came from. */
export async function linkChain({ base, deltas }: MemoryChain, directory: string): Promise<MemoryChain> {
  await mkdir(join(directory, DELTAS), { recursive: true, mode: 0o700 });
  const linked = chainOf(directory, deltas.length);
  await Promise.all([
    link(base, linked.base),
    ...deltas.flatMap((files, level) => [
      link(files.runs, linked.deltas[level]!.runs),
      link(files.pages, linked.deltas[level]!.pages),
    ]),
  ]);
  return linked;
}

/** Whether levels of so many pages are to be made one: they are too many, or together more than half of the memory. */
export function isLong(pagesOfLevels: readonly number[], memoryBytes: number): boolean {
  const pages = pagesOfLevels.reduce((sum, count) => sum + count, 0);
  return (
    pagesOfLevels.length > MAX_LEVELS || (pagesOfLevels.length > 1 && pages * PAGE_BYTES > memoryBytes / 2)
  );
}
