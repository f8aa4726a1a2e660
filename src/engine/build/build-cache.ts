/**
 * What builds keep to be faster: the layer that each step made, by all that has led to it, and the contents of cache mounts. Small files
 * in a folder; the layers themselves are the store's, which asks here what must stay.
 */

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Digest, isDigest, sha256, writeDurably } from "../image/index.ts";

const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value));
const stepEntry = z.object({ layer: digest, created: z.string(), usedAtMs: z.number() });
const mountEntry = z.object({ id: z.string(), layers: z.array(digest).max(64), usedAtMs: z.number() });

export type CachedStep = z.output<typeof stepEntry>;

/** More than these are not kept; the ones that were not used for longest go first. */
const MAX_STEPS = 2000;
const MAX_MOUNTS = 200;

export class BuildCache {
  readonly #steps: string;
  readonly #mounts: string;

  constructor(directory: string) {
    this.#steps = join(directory, "steps");
    this.#mounts = join(directory, "mounts");
  }

  /** What a step made before; undefined if it was never made, or was forgotten. */
  async step(key: string): Promise<CachedStep | undefined> {
    const path = this.#stepPath(key);
    const entry = await read(path, stepEntry);
    if (entry !== undefined)
      await writeDurably(path, JSON.stringify({ ...entry, usedAtMs: Date.now() }), 0o644);
    return entry;
  }

  async keepStep(key: string, layer: Digest, created: string): Promise<void> {
    await mkdir(this.#steps, { recursive: true });
    const entry: CachedStep = { layer, created, usedAtMs: Date.now() };
    await writeDurably(this.#stepPath(key), JSON.stringify(entry), 0o644);
    await forgetOldest(this.#steps, MAX_STEPS);
  }

  /** The layers of a cache mount, lowest first; none if it has never been used. */
  async mount(id: string): Promise<Digest[]> {
    return (await read(this.#mountPath(id), mountEntry))?.layers ?? [];
  }

  async keepMount(id: string, layers: readonly Digest[]): Promise<void> {
    await mkdir(this.#mounts, { recursive: true });
    await writeDurably(this.#mountPath(id), JSON.stringify({ id, layers, usedAtMs: Date.now() }), 0o644);
    await forgetOldest(this.#mounts, MAX_MOUNTS);
  }

  /** All layers that are kept for builds. */
  async layers(): Promise<Digest[]> {
    const steps = await Promise.all((await files(this.#steps)).map((path) => read(path, stepEntry)));
    const mounts = await Promise.all((await files(this.#mounts)).map((path) => read(path, mountEntry)));
    return [
      ...steps.flatMap((entry) => entry?.layer ?? []),
      ...mounts.flatMap((entry) => entry?.layers ?? []),
    ];
  }

  /** Forgets everything. Returns how many entries there were; the store's next sweep frees their layers. */
  async clear(): Promise<number> {
    const all = [...(await files(this.#steps)), ...(await files(this.#mounts))];
    for (const path of all) await rm(path, { force: true });
    return all.length;
  }

  #stepPath(key: string): string {
    return join(this.#steps, `${sha256(key).slice(7)}.json`);
  }

  #mountPath(id: string): string {
    return join(this.#mounts, `${sha256(id).slice(7)}.json`);
  }
}

/** A file that cannot be read counts as none: a cache may be forgotten. */
async function read<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function files(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith(".json")).map((name) => join(folder, name));
}

const usedAt = z.object({ usedAtMs: z.number() });

async function forgetOldest(folder: string, most: number): Promise<void> {
  const paths = await files(folder);
  if (paths.length <= most) return;
  const aged = await Promise.all(
    paths.map(async (path) => ({ path, usedAtMs: (await read(path, usedAt))?.usedAtMs ?? 0 })),
  );
  aged.sort((a, b) => a.usedAtMs - b.usedAtMs);
  // A tenth at once, so that not every step has to look at all.
  for (const { path } of aged.slice(0, most / 10)) await rm(path, { force: true });
}
