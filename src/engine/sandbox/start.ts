import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type FolderMount, SandboxError } from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import type { AgentConnection, OpenOptions } from "../guest/index.ts";
import type { Machine, MachineShape } from "../machine/index.ts";
import { type Template, templateFiles, UPPER_FILE } from "../template/index.ts";
import type { Machines, SandboxContext } from "./context.ts";
import { prepareDisks } from "./disks.ts";
import { setClock } from "./guest-clock.ts";
import { addGuestSpans } from "./guest-spans.ts";
import { identityOf } from "./identity.ts";
import { directoryOf, diskLimitsOf, launchVm, shapeOf } from "./launch-vm.ts";
import { mountAll } from "./mounts.ts";
import { guestNetworkOf, linkOf } from "./network.ts";
import { keepOrigin } from "./origin.ts";
import { reachAgent, VmEnded } from "./reach-agent.ts";
import type { SandboxRecord } from "./record.ts";
import type { Spans } from "./spans.ts";

/**
 * From a record to a running VM: the image's root disk, a writable overlay and a template are taken side by side, the
 * template is loaded, and the guest is handed its identity. Only when it has acknowledged that is it running.
 */

/** Under emulation a load answers within 100 ms; a host that swaps may take seconds. */
const AGENT_TIMEOUT_MS = 20_000;
/** The first attempt is given up earlier: most silences are not the host's slowness. */
const FIRST_TIMEOUT_MS = 8_000;

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
  const { context, machines, record, spans, operation, template, rootDirectory } = load;
  const { spec } = record;
  const directory = directoryOf(context, record.id);
  const disks = await spans.time("disks", async () => {
    const { assets } = machines;
    const { memory, state } = templateFiles(template);
    const origin = { memory, state, chain: { base: memory, deltas: [] } };
    const levels = [join(assets.directory, assets.blank), join(template.directory, UPPER_FILE)];
    await mkdir(directory, { recursive: true, mode: 0o700 });
    // One after the other: whoever removes the folder after an error must not have it come back.
    const prepared = await prepareDisks(directory, { levels, bytes: assets.blankBytes }, record);
    await keepOrigin(directory, origin, { inputs: template.manifest.inputs, generation: 0 });
    return prepared;
  });
  const machine = await launchVm({
    context,
    machines,
    record,
    spans,
    rootDirectory,
    disks,
    stateDirectory: template.directory,
    mounted: false,
  });
  try {
    load.hears.onMachine(machine);
    const link = linkOf(record);
    const agent = await spans.time("load, hello and setup", () =>
      reachAgent(machine, {
        filler: false,
        timeoutMs: load.timeoutMs,
        signal: operation.signal,
        setup: {
          identity: identityOf(record),
          upper: record.hasRun ? "kept" : "fresh",
          upperSizeBytes: spec.diskMiB * 1024 ** 2,
          network: link && guestNetworkOf(link),
        },
        ...load.hears,
      }),
    );
    // It was told when it began to be loaded. Nobody need wait: what is sent to it later, it does later.
    void setClock(agent, agent.setupResult?.timeNs);
    addGuestSpans(spans, agent.setupResult?.timings);
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

/** What a start that was cancelled fails with, whatever broke on the way. */
export function cancelled(error: unknown, signal: AbortSignal | undefined): SandboxError | undefined {
  if (!signal?.aborted) return undefined;
  return new SandboxError("cancelled", "the start of the sandbox was cancelled", { cause: error });
}
