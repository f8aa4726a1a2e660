import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type FolderMount, SandboxError, VOLUME_SLOTS } from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import type { AgentConnection, OpenOptions } from "../guest/index.ts";
import type { DiskLimits, Machine, MachineShape } from "../machine/index.ts";
import type { Template } from "../template/index.ts";
import type { Machines, SandboxContext } from "./context.ts";
import { prepareDisks } from "./disks.ts";
import { newIdentity } from "./identity.ts";
import { mountAll, volumesOf } from "./mounts.ts";
import { guestNetworkOf, interfaceOf, linkOf } from "./network.ts";
import { reachAgent, VmEnded } from "./reach-agent.ts";
import type { SandboxRecord, StartSpec } from "./record.ts";
import type { Spans } from "./spans.ts";
import { prepareVolumes } from "./volume-disks.ts";

/**
 * From a record to a running VM: the image's root disk, a writable overlay and a template are taken side by side, the
 * template is loaded, and the guest is handed its identity. Only when it has acknowledged that is it running.
 */

/** Under emulation a load answers within 100 ms; a host that swaps may take seconds. */
const AGENT_TIMEOUT_MS = 20_000;
/** The first attempt is given up earlier: most silences are not the host's slowness. */
const FIRST_TIMEOUT_MS = 8_000;
/** Room for the overlay's own tables above the disk that the guest sees. */
const OVERLAY_SLACK_BYTES = 256 * 1024 * 1024;

export interface Started {
  machine: Machine;
  agent: AgentConnection;
}

/** Who hears what a guest's agent tells by itself. */
export type AgentListeners = Pick<OpenOptions, "onLog" | "onOutOfMemory">;

/** Who takes part in a start. */
export interface StartListeners extends AgentListeners {
  onMachine(machine: Machine): void;
  mountFolder(agent: AgentConnection, mount: FolderMount): Promise<void>;
}

export const LOG_DIRECTORY = "logs";

/** Folder of a sandbox's sockets. */
export function runDirectoryOf(context: SandboxContext, id: string): string {
  return join(context.paths.run, id.slice(0, 8));
}

/**
 * Starts the VM of `record` and mounts what it has beside its root.
 * @throws what failed; no process and no socket is left then
 */
export async function startMachine(
  context: SandboxContext,
  record: SandboxRecord,
  spans: Spans,
  operation: OperationContext,
  hears: StartListeners,
): Promise<Started> {
  const started = await startBare(context, record, spans, operation, hears);
  const { mounts } = record.spec;
  const limits = diskLimitsOf(record.spec);
  try {
    if (mounts.length > 0) {
      await spans.time("mounts", () =>
        mountAll(started.agent, mounts, context.volumes, (mount) => hears.mountFolder(started.agent, mount), {
          signal: operation.signal,
        }),
      );
    }
    // Not before: a start reads and writes more than some limits would let it in its time.
    if (limits !== undefined) await spans.time("disk limits", () => started.machine.limitDisks(limits));
    return started;
  } catch (error) {
    started.agent.close();
    await started.machine.kill();
    throw error;
  }
}

/** A template that does not load is put aside and built again, once. */
async function startBare(
  context: SandboxContext,
  record: SandboxRecord,
  spans: Spans,
  operation: OperationContext,
  hears: StartListeners,
): Promise<Started> {
  const shape = shapeOf(record);
  const machines = await spans.time("machines", () => context.machines());
  const takeTemplate = () => takeTemplateOf(machines, shape, operation);
  const [template, root] = await Promise.all([
    spans.time("template", takeTemplate),
    spans.time("image", () => context.images.rootDisk(record.imageDigest)),
  ]);
  const load = (from: Template, timeoutMs = AGENT_TIMEOUT_MS) =>
    loadMachine({
      context,
      machines,
      record,
      spans,
      operation,
      hears,
      template: from,
      rootDirectory: root.directory,
      timeoutMs,
    });
  try {
    return await load(template, FIRST_TIMEOUT_MS).catch((error) => {
      if (!isSilence(error)) throw error;
      // Seen once in a few thousand loads under emulation, with ten at a time, of a template that loaded well before and after:
      // the guest stays silent. The cause is not known; a second machine from the same state answers.
      const message = "the guest did not answer after it was loaded; it is loaded again";
      context.events.add({ type: "sandbox.reloaded", sandbox: record.id, message });
      return load(template);
    });
  } catch (error) {
    const reason = templateAtFault(error);
    if (reason === undefined) throw error;
    await machines.templates.quarantine(template, reason);
    return await load(await spans.time("template again", takeTemplate));
  }
}

/** What the VM of a sandbox must have. */
function shapeOf(record: SandboxRecord): MachineShape {
  const { cpus, memoryMiB, mounts } = record.spec;
  const volumes = volumesOf(mounts).length;
  const link = linkOf(record.spec, record.groupNumber);
  const volumeSlots = VOLUME_SLOTS.find((slots) => slots >= volumes)!;
  return { cpus, memoryMiB, volumeSlots, network: link && interfaceOf(link) };
}

function diskLimitsOf({
  diskIops: iops,
  diskBytesPerSecond: bytesPerSecond,
}: StartSpec): DiskLimits | undefined {
  return iops === undefined && bytesPerSecond === undefined ? undefined : { iops, bytesPerSecond };
}

/** The template of a shape, built with a word to whoever waits. */
export async function takeTemplateOf(
  machines: Machines,
  shape: MachineShape,
  { signal, onProgress }: OperationContext,
): Promise<Template> {
  const inputs = await machines.inputsOf(shape);
  const slots = shape.volumeSlots === 0 ? "" : ` and ${shape.volumeSlots} volumes`;
  const task = `building the template for ${shape.cpus} CPU${shape.cpus === 1 ? "" : "s"} and ${shape.memoryMiB} MiB${slots}`;
  return machines.templates.ensure(inputs, { signal, onBuild: () => onProgress?.({ task }) });
}

interface Load {
  context: SandboxContext;
  machines: Machines;
  record: SandboxRecord;
  spans: Spans;
  operation: OperationContext;
  hears: StartListeners;
  template: Template;
  rootDirectory: string;
  timeoutMs: number;
}

async function loadMachine(load: Load): Promise<Started> {
  const { context, machines, record, spans, operation, template } = load;
  const { spec } = record;
  const runDirectory = runDirectoryOf(context, record.id);
  await rm(runDirectory, { recursive: true, force: true });
  await mkdir(runDirectory, { mode: 0o700 });
  const diskBytes = spec.diskMiB * 1024 ** 2;
  const sandboxDirectory = join(context.paths.sandboxes, record.id);
  const disks = await spans.time("disks", () =>
    prepareDisks(sandboxDirectory, template, machines.assets, record),
  );
  const volumes = await spans.time("volumes", () =>
    prepareVolumes(disks.writableDirectory, volumesOf(spec.mounts), context.volumes),
  );
  const fileBytes = Math.max(diskBytes, ...volumes.map(({ sizeBytes }) => sizeBytes));
  const machine = await spans.time("vmm", () =>
    machines.vmm.load({
      shape: shapeOf(record),
      stateDirectory: template.directory,
      disks: { rootDirectory: load.rootDirectory, ...disks, volumes },
      runDirectory,
      limitable: diskLimitsOf(spec) !== undefined,
      uid: record.uid,
      maxFileBytes: fileBytes + OVERLAY_SLACK_BYTES,
    }),
  );
  try {
    load.hears.onMachine(machine);
    const identity = newIdentity(spec.name ?? record.name);
    const link = linkOf(record.spec, record.groupNumber);
    const agent = await spans.time("load, hello and setup", () =>
      reachAgent(machine, {
        filler: false,
        timeoutMs: load.timeoutMs,
        signal: operation.signal,
        setup: {
          identity: { ...identity, timeNs: BigInt(Date.now()) * 1_000_000n },
          upper: record.hasRun ? "kept" : "fresh",
          upperSizeBytes: diskBytes,
          network: link && guestNetworkOf(link),
        },
        ...load.hears,
      }),
    );
    addGuestSpans(spans, agent);
    return { machine, agent };
  } catch (error) {
    await machine.kill();
    throw error;
  }
}

/** A load that QEMU refuses, or after which the agent is silent, speaks against the template. */
function templateAtFault(error: unknown): string | undefined {
  if (error instanceof VmEnded) return error.vmCause === "state-rejected" ? error.message : undefined;
  return isSilence(error) ? SandboxError.from(error).message : undefined;
}

function isSilence(error: unknown): boolean {
  return !(error instanceof VmEnded) && SandboxError.from(error).code === "timeout";
}

/** What the guest says its own steps took, shown as parts of the setup that has just ended. */
function addGuestSpans(spans: Spans, agent: AgentConnection): void {
  const steps = Object.entries(agent.setupResult?.timings ?? {});
  const total = steps.reduce((sum, [, us]) => sum + us, 0) / 1000;
  let at = Math.max(0, spans.elapsed() - total);
  for (const [name, us] of steps) {
    spans.add(`guest: ${name}`, at, us / 1000);
    at += us / 1000;
  }
}

/** What a start that was cancelled fails with, whatever broke on the way. */
export function cancelled(error: unknown, signal: AbortSignal | undefined): SandboxError | undefined {
  if (!signal?.aborted) return undefined;
  return new SandboxError("cancelled", "the start of the sandbox was cancelled", { cause: error });
}
