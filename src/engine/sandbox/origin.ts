import { rmSync } from "node:fs";
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { chainOf, linkChain, type MemoryChain } from "../state/index.ts";
import { templateInputs } from "../template/index.ts";

/**
 * What the VM of a sandbox was loaded from, as hard links in the sandbox's own folder: what the VM has changed since then can be told only
 * against that, and templates and states come and go.
 *
 *     origin/state         device state
 *     origin/memory        the file that the VM maps
 *     origin/base, delta/  the same memory as a stored state has it: that of the template, and what the states since had changed in it
 *     origin/loaded.json   all that shapes the VM, and how often a state was taken on the way here
 */

const ORIGIN = "origin";
const LOADED_FILE = "loaded.json";

const loaded = z.object({
  inputs: templateInputs,
  /** 0: nothing but the template. */
  generation: z.int(),
  /** Undefined: the template's. */
  stateId: z.string().optional(),
  /** Of the chain, above the template's memory. */
  levels: z.int(),
});

export type Loaded = Omit<z.output<typeof loaded>, "levels">;

export interface OriginFiles {
  state: string;
  memory: string;
  chain: MemoryChain;
}

/** Notes what a VM is about to be loaded from. */
export async function keepOrigin(
  directory: string,
  { state, memory, chain }: OriginFiles,
  from: Loaded,
): Promise<void> {
  const origin = join(directory, ORIGIN);
  await rm(origin, { recursive: true, force: true });
  await mkdir(origin, { mode: 0o700 });
  const note = JSON.stringify({ ...from, levels: chain.deltas.length });
  await Promise.all([
    linkChain(chain, origin),
    link(state, join(origin, "state")),
    link(memory, join(origin, "memory")),
    writeFile(join(origin, LOADED_FILE), note, { mode: 0o600 }),
  ]);
}

/** What the running VM was loaded from. */
export async function originOf(directory: string): Promise<OriginFiles & Loaded> {
  const origin = join(directory, ORIGIN);
  const { levels, ...from } = loaded.parse(JSON.parse(await readFile(join(origin, LOADED_FILE), "utf8")));
  return {
    ...from,
    state: join(origin, "state"),
    memory: join(origin, "memory"),
    chain: chainOf(origin, levels),
  };
}

/** The VM is gone. */
export function forgetOrigin(directory: string): void {
  rmSync(join(directory, ORIGIN), { recursive: true, force: true });
}
