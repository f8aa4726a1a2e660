import type { AgentConnection } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import type { VolumeHolds } from "../volume/index.ts";
import { volumesOf } from "./mounts.ts";
import type { SandboxRecord } from "./record.ts";
import { within } from "./within.ts";

/** How long a killed sandbox may take to write to its volumes what it has in memory. */
const SAVE_VOLUMES_MS = 5_000;

/**
 * A sandbox's own disk may be lost with it, a volume outlives it: what its processes have written, synced or not, gets there
 * before the VM is ended at once. A guest that does not do it in time loses that.
 */
export async function saveVolumes(
  { id, spec }: Pick<SandboxRecord, "id" | "spec">,
  holds: VolumeHolds,
  machine: Machine | undefined,
  agent: AgentConnection | undefined,
): Promise<void> {
  holds.ending(id);
  if (machine === undefined || agent === undefined) return;
  if (volumesOf(spec.mounts).every(({ readOnly }) => readOnly)) return;
  void agent.shutdown(0).catch(() => {});
  await within(SAVE_VOLUMES_MS, machine.exited);
}
