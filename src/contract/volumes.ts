import { z } from "zod";
import { volumeName } from "./names.ts";
import { SANDBOX_STATES } from "./sandbox.ts";

/** Named volumes: disks that outlive sandboxes. */

/** The blank file system that a volume begins as has this size; a sandbox that writes to it grows it. */
export const MIN_VOLUME_MIB = 4096;
/** Size of a volume, MiB, when none is asked for; it is sparse, so it costs nothing until written. */
export const DEFAULT_VOLUME_MIB = 4096;
export const MAX_VOLUME_MIB = 1024 * 1024;

/** How many disks for volumes a VM may have been given: its devices are stored with its template, used or not. */
export const VOLUME_SLOTS = [0, 2, 4, 8, 16] as const;

export const volumeRequest = z
  .strictObject({
    name: volumeName,
    sizeMiB: z.int().min(MIN_VOLUME_MIB).max(MAX_VOLUME_MIB).default(DEFAULT_VOLUME_MIB),
  })
  .meta({ id: "VolumeRequest" });
export type VolumeRequest = z.output<typeof volumeRequest>;
export type VolumeRequestInput = z.input<typeof volumeRequest>;

export const volumeUser = z
  .object({
    id: z.string(),
    name: z.string(),
    state: z.enum(SANDBOX_STATES),
    readOnly: z.boolean(),
  })
  .meta({ id: "VolumeUser" });
export type VolumeUser = z.output<typeof volumeUser>;

export const volumeInfo = z
  .object({
    name: z.string(),
    sizeMiB: z.int(),
    usedBytes: z.int().meta({ description: "Space that it takes on the host's disk." }),
    createdAt: z.iso.datetime(),
    users: z.array(volumeUser).meta({ description: "Sandboxes that have it among their mounts." }),
  })
  .meta({ id: "Volume" });
export type VolumeInfo = z.output<typeof volumeInfo>;

export const volumePruneReport = z
  .object({ removed: z.array(z.string()), freedBytes: z.int() })
  .meta({ id: "VolumePruneReport" });
export type VolumePruneReport = z.output<typeof volumePruneReport>;
