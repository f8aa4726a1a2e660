import { link, mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { createQcow2, readQcow2Info } from "../disk/index.ts";
import { exists } from "../exists.ts";
import type { Backing, MachineDisks } from "../machine/index.ts";
import type { SandboxRecord, StartSpec } from "./record.ts";

/**
 * The writable disks of a sandbox.
 *
 *     disk/upper.qcow2   overlay over the disk that the loaded guest has mounted already
 *     disk/kept.qcow2    what an earlier run wrote; only from the second start on
 *     base/              hard links to the files below the one of them that holds what the sandbox has written, `0` the lowest:
 *                        templates, assets and states come and go, a sandbox's files stay
 *     fresh/             the same, below an `upper.qcow2` that is thrown away
 *
 * On its first start a sandbox writes to `upper.qcow2`. Before the next this becomes `kept.qcow2`, since the guest that is
 * loaded then has a *fresh* disk mounted and would take a written one for damaged; that fresh disk is thrown away.
 */
const WRITABLE = "disk";
const BASE = "base";
const THROWAWAY = "fresh";
const UPPER = "upper.qcow2";
const KEPT = "kept.qcow2";

/** Files below a disk, lowest first. */
export type Levels = readonly string[];

export type WritableDisks = Omit<MachineDisks, "rootDirectory" | "volumes">;

export interface FreshDisk {
  /** Below the disk that a template's guest has mounted. */
  levels: Levels;
  /** Bytes that it has at least. */
  bytes: number;
}

/**
 * The disks of a sandbox that a template is loaded for: makes what is missing, new for every attempt, but for what an earlier run wrote.
 * Sizes in the record.
 */
export async function prepareDisks(
  directory: string,
  { levels, bytes }: FreshDisk,
  record: Pick<SandboxRecord, "hasRun"> & { spec: StartSpec },
): Promise<WritableDisks> {
  const writable = join(directory, WRITABLE);
  const upper = join(writable, UPPER);
  await mkdir(writable, { recursive: true, mode: 0o700 });
  if (record.hasRun) {
    await keep(upper, join(writable, KEPT));
    await createQcow2(upper, { virtualSizeBytes: bytes });
    return {
      writableDirectory: writable,
      upper: await linkLevels(join(directory, THROWAWAY), levels),
      kept: await levelsIn(join(directory, BASE)),
    };
  }
  await rm(upper, { force: true });
  const [backing] = await Promise.all([
    linkLevels(join(directory, BASE), levels),
    createQcow2(upper, { virtualSizeBytes: diskBytesOf(record.spec, bytes) }),
  ]);
  return { writableDirectory: writable, upper: backing };
}

/** The size of what a sandbox writes to. @param blankBytes of the disk below it */
export function diskBytesOf({ diskMiB }: Pick<StartSpec, "diskMiB">, blankBytes: number): number {
  return Math.max(diskMiB * 1024 ** 2, blankBytes);
}

/** The disks of a sandbox that begins with what a stored state has: empty overlays over these. */
export async function inheritDisks(
  directory: string,
  { upper, kept }: { upper?: Levels | undefined; kept?: Levels | undefined },
): Promise<void> {
  const writable = join(directory, WRITABLE);
  await mkdir(writable, { recursive: true, mode: 0o700 });
  const make = async (name: string, folder: string, levels: Levels) => {
    const { virtualSizeBytes } = await readQcow2Info(levels.at(-1)!);
    await linkLevels(join(directory, folder), levels);
    await createQcow2(join(writable, name), { virtualSizeBytes });
  };
  if (kept !== undefined) await make(KEPT, BASE, kept);
  if (upper !== undefined) await make(UPPER, kept === undefined ? BASE : THROWAWAY, upper);
}

/** The disks as they stand, for a guest that has them mounted. */
export async function presentDisks(directory: string): Promise<WritableDisks> {
  const writableDirectory = join(directory, WRITABLE);
  const base = await levelsIn(join(directory, BASE));
  if (!(await exists(join(writableDirectory, KEPT)))) return { writableDirectory, upper: base };
  return { writableDirectory, upper: await levelsIn(join(directory, THROWAWAY)), kept: base };
}

/** The overlays that a sandbox has now, with what is below each. */
export async function overlaysOf(
  directory: string,
): Promise<{ role: "upper" | "kept"; file: string; levels: Levels }[]> {
  const { writableDirectory, upper, kept } = await presentDisks(directory);
  const files = ({ directory: folder, levels }: Backing) =>
    Array.from({ length: levels }, (_, level) => join(folder, String(level)));
  return [
    { role: "upper" as const, file: join(writableDirectory, UPPER), levels: files(upper) },
    ...(kept === undefined
      ? []
      : [{ role: "kept" as const, file: join(writableDirectory, KEPT), levels: files(kept) }]),
  ];
}

/** Folder of all that the machine of a sandbox writes to. */
export function writableDirectoryOf(directory: string): string {
  return join(directory, WRITABLE);
}

/** Makes a folder of these files anew, as links. */
export async function linkLevels(directory: string, levels: Levels): Promise<Backing> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o755 });
  await Promise.all(levels.map((file, level) => link(file, join(directory, String(level)))));
  return { directory, levels: levels.length };
}

async function levelsIn(directory: string): Promise<Backing> {
  return { directory, levels: (await readdir(directory)).length };
}

/**
 * After the first run its overlay becomes the kept one; later the other overlay is a throwaway. Either step may be cut off by a
 * crash: what is done already is not done again.
 */
async function keep(upper: string, kept: string): Promise<void> {
  if (await exists(kept)) await rm(upper, { force: true });
  else await rename(upper, kept);
}
