import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { VOLUME_SLOTS } from "../../contract/index.ts";
import type { DiskLimits, Machine, MachineShape } from "../machine/index.ts";
import type { Machines, SandboxContext } from "./context.ts";
import type { WritableDisks } from "./disks.ts";
import { volumesOf } from "./mounts.ts";
import { machineInterfaceOf } from "./network.ts";
import type { SandboxRecord, StartSpec } from "./record.ts";
import type { Spans } from "./spans.ts";
import { prepareVolumes } from "./volume-disks.ts";

/** The VM of a sandbox, loaded from a stored state of either kind. */

/** Room for the overlay's own tables above the disk that the guest sees. */
const OVERLAY_SLACK_BYTES = 256 * 1024 * 1024;

export interface Launch {
  context: SandboxContext;
  machines: Machines;
  record: SandboxRecord;
  spans: Spans;
  /** Folder with `memory` and `state`. */
  stateDirectory: string;
  rootDirectory: string;
  disks: WritableDisks;
  /** Its guest has its volumes mounted already. */
  mounted: boolean;
}

/** Starts the VM; its guest runs as soon as it is loaded. */
export async function launchVm(launch: Launch): Promise<Machine> {
  const { context, machines, record, spans, stateDirectory, rootDirectory, disks, mounted } = launch;
  const { spec } = record;
  const runDirectory = runDirectoryOf(context, record.id);
  await rm(runDirectory, { recursive: true, force: true });
  await mkdir(runDirectory, { mode: 0o700 });
  const volumes = await spans.time("volumes", () =>
    prepareVolumes(disks.writableDirectory, volumesOf(spec.mounts), context.volumes, { mounted }),
  );
  const fileBytes = Math.max(spec.diskMiB * 1024 ** 2, ...volumes.map(({ sizeBytes }) => sizeBytes));
  return spans.time("vmm", () =>
    machines.vmm.load({
      shape: shapeOf(record),
      stateDirectory,
      disks: { rootDirectory, ...disks, volumes },
      runDirectory,
      limitable: diskLimitsOf(spec) !== undefined,
      uid: record.uid,
      maxFileBytes: fileBytes + OVERLAY_SLACK_BYTES,
    }),
  );
}

/** Folder of a sandbox's sockets. */
export function runDirectoryOf(context: SandboxContext, id: string): string {
  return join(context.paths.run, id.slice(0, 8));
}

/** Folder of all that is a sandbox's. */
export function directoryOf(context: SandboxContext, id: string): string {
  return join(context.paths.sandboxes, id);
}

/** What the VM of a sandbox must have. */
export function shapeOf({ spec }: Pick<SandboxRecord, "spec">): MachineShape {
  const { cpus, memoryMiB, mounts } = spec;
  const volumes = volumesOf(mounts).length;
  const volumeSlots = VOLUME_SLOTS.find((slots) => slots >= volumes)!;
  return { cpus, memoryMiB, volumeSlots, network: machineInterfaceOf(spec) };
}

export function diskLimitsOf({
  diskIops: iops,
  diskBytesPerSecond: bytesPerSecond,
}: StartSpec): DiskLimits | undefined {
  return iops === undefined && bytesPerSecond === undefined ? undefined : { iops, bytesPerSecond };
}
