import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { endStrays } from "../machine/index.ts";
import type { Paths } from "../store/index.ts";

/** Sandboxes have 8 hex digits; templates being built have a `t` in front. Other files are the daemon's. */
const RUN_FOLDER = /^[0-9a-f]{8}$|^t[0-9a-f]{7}$|^probe-\d+$/;

/** Removes what crashes have left: folders of sandboxes that are not known, and VMs and sockets of those that do not run. */
export async function sweep(
  { sandboxes, run }: Pick<Paths, "sandboxes" | "run">,
  { known, running }: { known: readonly string[]; running: readonly string[] },
): Promise<void> {
  const kept = new Set(known);
  for (const id of await readdir(sandboxes)) {
    if (!kept.has(id)) await rm(join(sandboxes, id), { recursive: true, force: true });
  }
  const runs = new Set(running.map((id) => id.slice(0, 8)));
  await endStrays(run, runs);
  for (const name of await readdir(run)) {
    if (RUN_FOLDER.test(name) && !runs.has(name)) await rm(join(run, name), { recursive: true, force: true });
  }
}
