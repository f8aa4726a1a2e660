import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { VolumeMount } from "../../contract/index.ts";
import { copySparse } from "../copy-sparse.ts";
import { createQcow2 } from "../disk/index.ts";
import { exists } from "../exists.ts";
import type { VolumeDisk } from "../machine/index.ts";
import type { VolumeStore } from "../volume/index.ts";

const COPY_DEADLINE_MS = 600_000;

/** The machine's name for the disk of a volume. */
export const volumeRole = (slot: number): string => `volume${slot}`;

/** In the folder of a sandbox's writable disks: what its guest has written over a volume that it only reads. */
export const readerOverlay = (slot: number): string => `${volumeRole(slot)}.qcow2`;

/**
 * The disks of a sandbox's volumes, in the order of its mounts. Who only reads gets an overlay of its own, new for every start:
 * its guest may have to replay a journal, and what it writes in spite of its mount stays with it.
 * @param mounted the guest has them mounted already, and the overlays that there are hold what it believes to be on its disks
 * @throws `not_found` if a volume is no longer there
 */
export async function prepareVolumes(
  writableDirectory: string,
  mounts: readonly VolumeMount[],
  store: VolumeStore,
  { mounted }: { mounted: boolean },
): Promise<(VolumeDisk & { sizeBytes: number })[]> {
  return Promise.all(
    mounts.map(async ({ name, readOnly }, slot) => {
      const { file, sizeMiB } = await store.get(name);
      const sizeBytes = sizeMiB * 1024 ** 2;
      if (!readOnly) return { file, sizeBytes };
      const overlay = readerOverlay(slot);
      const path = join(writableDirectory, overlay);
      if (mounted && (await exists(path))) return { file, sizeBytes, overlay };
      await rm(path, { force: true });
      await createQcow2(path, { virtualSizeBytes: sizeBytes });
      return { file, sizeBytes, overlay };
    }),
  );
}

/** Copies what a guest has written over a volume: as large as its VMM likes, so with its holes. */
export function copyOverlay(from: string, to: string): Promise<void> {
  return copySparse(from, to, {
    what: "what was written over a volume",
    sparse: "auto",
    deadlineMs: COPY_DEADLINE_MS,
  });
}
