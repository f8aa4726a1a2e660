import { link, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { templateInputs } from "../template/index.ts";

/**
 * What the VM of a sandbox was loaded from, as hard links in the sandbox's own folder: what the VM has changed since then can be told only
 * against that, and templates and states come and go.
 *
 *     origin/state         device state
 *     origin/base          memory of the template that all began with
 *     origin/delta/N.*     what the states in between had changed in it, the oldest first
 *     origin/loaded.json   all that shapes the VM, and how often a state was taken on the way here
 */

const ORIGIN = "origin";
const LOADED_FILE = "loaded.json";
const BASE = "base";
const STATE = "state";
const DELTA = "delta";

const loaded = z.object({
  inputs: templateInputs,
  /** 0: nothing but the template. */
  generation: z.int(),
  /** Undefined: the template's. */
  stateId: z.string().optional(),
});

export type Loaded = z.output<typeof loaded>;

export interface OriginFiles {
  base: string;
  state: string;
  /** Files of deltas. */
  deltas: string[];
}

/** Notes what a VM is about to be loaded from. */
export async function keepOrigin(directory: string, files: OriginFiles, from: Loaded): Promise<void> {
  const origin = join(directory, ORIGIN);
  await rm(origin, { recursive: true, force: true });
  await mkdir(join(origin, DELTA), { recursive: true, mode: 0o700 });
  await Promise.all([
    link(files.base, join(origin, BASE)),
    link(files.state, join(origin, STATE)),
    ...files.deltas.map((file) => link(file, join(origin, DELTA, file.slice(file.lastIndexOf("/") + 1)))),
    writeFile(join(origin, LOADED_FILE), JSON.stringify(from), { mode: 0o600 }),
  ]);
}

/** What the running VM was loaded from. */
export async function originOf(directory: string): Promise<OriginFiles & Loaded> {
  const origin = join(directory, ORIGIN);
  const [text, names] = await Promise.all([
    readFile(join(origin, LOADED_FILE), "utf8"),
    readdir(join(origin, DELTA)),
  ]);
  return {
    ...loaded.parse(JSON.parse(text)),
    base: join(origin, BASE),
    state: join(origin, STATE),
    deltas: names.sort().map((name) => join(origin, DELTA, name)),
  };
}

/** The VM is gone. */
export async function forgetOrigin(directory: string): Promise<void> {
  await rm(join(directory, ORIGIN), { recursive: true, force: true });
}
