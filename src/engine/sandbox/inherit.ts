import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type RestoreChanges, restoredSpec, SandboxError, type SandboxInfo } from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import { diskLevels, type StoredState } from "../state/index.ts";
import type { SandboxContext } from "./context.ts";
import type { WarmVms } from "./create.ts";
import { inheritDisks, type Levels } from "./disks.ts";
import { withFreePorts } from "./free-ports.ts";
import { newId, newMachineId } from "./identity.ts";
import { directoryOf } from "./launch-vm.ts";
import { assertLoadable } from "./load-state.ts";
import type { SandboxRecord } from "./record.ts";
import type { SandboxRegistry } from "./registry.ts";
import type { Sandbox } from "./sandbox.ts";
import { readStoredSandbox, settleStored } from "./stored-sandbox.ts";
import { inheritOverlays, inheritVolumes } from "./stored-volumes.ts";

/** Sandboxes that begin with what a stored state has. */

/** Loading is work for a processor, most of it. */
const AT_ONCE = Math.max(2, availableParallelism());

export interface Inheritance {
  /** Of the first of several with a number behind it. Default: generated */
  name?: string | undefined;
  count: number;
  changes?: RestoreChanges | undefined;
  /** The sandbox that they come of goes on, with the ports of the host that it publishes. Default: false */
  parentRuns?: boolean;
}

export interface Family {
  readonly context: SandboxContext;
  readonly registry: SandboxRegistry;
  readonly warm?: WarmVms | undefined;
  /** Its volumes are its own until its VM is gone. */
  hold(sandbox: Sandbox): void;
}

/** Makes `count` of them and has them go on. After an error there is none of them. */
export async function inheritState(
  family: Family,
  stored: StoredState,
  { name, count, changes, parentRuns = false }: Inheritance,
  operation: OperationContext,
): Promise<SandboxInfo[]> {
  const { context, registry } = family;
  const described = readStoredSandbox(stored.manifest.record);
  const { sandbox: parent } = described;
  const wanted = restoredSpec(parent.spec, changes);
  const portsAreTaken = (parentRuns || count > 1) && changes?.network === undefined;
  const spec = portsAreTaken ? { ...wanted, network: withFreePorts(wanted.network) } : wanted;
  const running = stored.manifest.kind === "running";
  if (running) await assertLoadable(context, { spec }, stored);
  // One with memory is looked at when that is loaded.
  else await context.states.ensureWhole(stored);
  const image = await context.images.get(parent.imageDigest).catch((cause) => {
    throw new SandboxError(
      "not_found",
      `the image '${spec.image}' that the stored sandbox stands on is not here`,
      {
        hint: `It has to be this one: ${parent.imageDigest}. Pull, load or build it.`,
        details: { image: spec.image, imageDigest: parent.imageDigest },
        cause,
      },
    );
  });
  const { names, release } = registry.reserveNames(name, count);
  const made: Sandbox[] = [];
  const volumes = await inheritVolumes(context, stored, spec, names, operation);
  const make = async (index: number) => {
    const { idleSince: _, reason: __, startedAt: ___, stoppedAt: ____, ...kept } = parent;
    const own = { ...volumes.specs[index]!, name: names[index] };
    const record: SandboxRecord = {
      ...kept,
      id: newId(),
      name: names[index]!,
      spec: own,
      state: "creating",
      createdAt: new Date().toISOString(),
      timings: [],
      hasRun: !running,
      temporary: false,
      machineId: newMachineId(),
      ...registry.numbersFor(own),
    };
    const sandbox = registry.add(record, image.config);
    made.push(sandbox);
    family.hold(sandbox);
    context.table.put({ ...record, record });
    const from = stored.manifest.name ?? stored.id;
    context.events.add({
      type: "sandbox.creating",
      sandbox: record.id,
      data: { name: record.name, image: own.image, from, of: parent.name },
    });
    const directory = directoryOf(context, record.id);
    await mkdir(directory, { mode: 0o700 });
    await Promise.all([inheritDisks(directory, disksIn(stored)), settleStored(directory, described)]);
    await inheritOverlays(directory, stored, own);
    await sandbox.start(operation, { from: running ? stored : undefined });
  };
  try {
    await inBatches(count, make);
    return made.map(({ info }) => info);
  } catch (error) {
    for (const sandbox of made) {
      if (sandbox.state === "running") await sandbox.kill().catch(() => {});
      if (sandbox.state !== "removed") await sandbox.remove().catch(() => {});
    }
    await volumes.discard();
    throw error;
  } finally {
    release();
  }
}

function disksIn({ directory, manifest }: StoredState): { upper?: Levels; kept?: Levels } {
  const levels = diskLevels(manifest.files);
  const of = (role: string) => {
    const count = levels.get(role);
    return count === undefined
      ? undefined
      : Array.from({ length: count }, (_, level) => join(directory, "disks", role, String(level)));
  };
  const [upper, kept] = [of("upper"), of("kept")];
  return { ...(upper && { upper }), ...(kept && { kept }) };
}

/** Runs `make(0)` … `make(count - 1)`, some at a time; none begins after one has failed. Settles when none runs. */
async function inBatches(count: number, make: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  let failure: { error: unknown } | undefined;
  const work = async () => {
    while (failure === undefined && next < count) {
      try {
        await make(next++);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, work));
  if (failure !== undefined) throw (failure as { error: unknown }).error;
}
