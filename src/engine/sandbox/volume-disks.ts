import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { VolumeMount } from "../../contract/index.ts";
import { createQcow2 } from "../disk/index.ts";
import type { VolumeDisk } from "../machine/index.ts";
import type { VolumeStore } from "../volume/index.ts";

/**
 * The disks of a sandbox's volumes, in the order of its mounts. Who only reads gets an overlay of its own, new for every start:
 * its guest may have to replay a journal, and what it writes in spite of its mount stays with it.
 * @throws `not_found` if a volume is no longer there
 */
export async function prepareVolumes(
  writableDirectory: string,
  mounts: readonly VolumeMount[],
  store: VolumeStore,
): Promise<(VolumeDisk & { sizeBytes: number })[]> {
  return Promise.all(
    mounts.map(async ({ name, readOnly }, slot) => {
      const { file, sizeMiB } = await store.get(name);
      const sizeBytes = sizeMiB * 1024 ** 2;
      if (!readOnly) return { file, sizeBytes };
      const overlay = `volume${slot}.qcow2`;
      await rm(join(writableDirectory, overlay), { force: true });
      await createQcow2(join(writableDirectory, overlay), { virtualSizeBytes: sizeBytes });
      return { file, sizeBytes, overlay };
    }),
  );
}
