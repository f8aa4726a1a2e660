import { access, link, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { createQcow2 } from "../disk/index.ts";
import type { MachineDisks } from "../machine/index.ts";
import type { BootAssets } from "../store/index.ts";
import { type Template, UPPER_FILE } from "../template/index.ts";
import type { SandboxRecord, StartSpec } from "./record.ts";

/**
 * The writable disks of a sandbox.
 *
 *     disk/upper.qcow2   overlay over the template's fresh disk, which the loaded guest has mounted already
 *     disk/kept.qcow2    what an earlier run wrote; only from the second start on
 *     base/              hard links to the files below `kept.qcow2`: templates and assets come and go, a sandbox's files stay
 *
 * On its first start a sandbox writes to `upper.qcow2`. Before the next this becomes `kept.qcow2`, since the guest that is
 * loaded then has a *fresh* disk mounted and would take a written one for damaged; that fresh disk is thrown away.
 */
const WRITABLE = "disk";
const BASE = "base";
const FRESH = "upper.qcow2";
const KEPT = "kept.qcow2";
const BLANK = "blank.ext4";

/** Makes what is missing, new for every attempt, but for what an earlier run wrote. Sizes in the record. */
export async function prepareDisks(
  directory: string,
  template: Template,
  assets: BootAssets,
  record: Pick<SandboxRecord, "hasRun"> & { spec: StartSpec },
): Promise<Omit<MachineDisks, "rootDirectory" | "volumes">> {
  const writable = join(directory, WRITABLE);
  const base = join(directory, BASE);
  const blankFile = join(assets.directory, assets.blank);
  const fresh = join(writable, FRESH);
  await mkdir(writable, { recursive: true, mode: 0o700 });
  if (record.hasRun) {
    await keep(fresh, join(writable, KEPT));
    await createQcow2(fresh, { virtualSizeBytes: assets.blankBytes });
    return { writableDirectory: writable, blankFile, keptDirectory: base };
  }
  await Promise.all([rm(fresh, { force: true }), rm(base, { recursive: true, force: true })]);
  await mkdir(base, { mode: 0o755 });
  await Promise.all([
    createQcow2(fresh, { virtualSizeBytes: Math.max(record.spec.diskMiB * 1024 ** 2, assets.blankBytes) }),
    link(join(template.directory, UPPER_FILE), join(base, UPPER_FILE)),
    link(blankFile, join(base, BLANK)),
  ]);
  return { writableDirectory: writable, blankFile };
}

/**
 * After the first run its overlay becomes the kept one; later the other overlay is a throwaway. Either step may be cut off by a
 * crash: what is done already is not done again.
 */
async function keep(fresh: string, kept: string): Promise<void> {
  const isKept = await access(kept).then(
    () => true,
    () => false,
  );
  if (isKept) await rm(fresh, { force: true });
  else await rename(fresh, kept);
}
