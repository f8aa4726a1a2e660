import { join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import { type AgentConnection, PROTOCOL_VERSION, restoreGuest, type SetupResult } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import { chainOf, mismatch, type StoredState } from "../state/index.ts";
import type { SandboxContext } from "./context.ts";
import { presentDisks } from "./disks.ts";
import { setClock } from "./guest-clock.ts";
import { addGuestSpans } from "./guest-spans.ts";
import { identityOf } from "./identity.ts";
import { directoryOf, diskLimitsOf, launchVm, shapeOf } from "./launch-vm.ts";
import { guestNetworkOf, linkOf, macOf } from "./network.ts";
import { keepOrigin } from "./origin.ts";
import { reachAgent } from "./reach-agent.ts";
import type { SandboxRecord } from "./record.ts";
import type { Spans } from "./spans.ts";
import type { Started, StartListeners } from "./start.ts";

/**
 * From a stored state to a running VM. Its processes stand still until the guest has acknowledged that it is another one: new random
 * numbers, the right time, its own name and addresses. A guest that does not is ended.
 */

/** Under emulation a load answers within 100 ms; a host that swaps may take seconds. */
const AGENT_TIMEOUT_MS = 20_000;
const RESTORE_TIMEOUT_MS = 10_000;

/** Loads `stored` for the sandbox of `record`, whose disks are in place. @throws what failed; no process and no socket is left then */
export async function startFromState(
  context: SandboxContext,
  record: SandboxRecord,
  stored: StoredState,
  spans: Spans,
  operation: OperationContext,
  hears: StartListeners,
): Promise<Started> {
  const machines = await spans.time("machines", () => context.machines());
  await assertLoadable(context, record, stored);
  const directory = directoryOf(context, record.id);
  const [root, loadable] = await Promise.all([
    spans.time("image", () => context.images.rootDisk(record.imageDigest)),
    spans.time("state", () => context.states.loadable(stored)),
  ]);
  const generation = stored.manifest.generation + 1;
  let machine: Machine | undefined;
  try {
    const disks = await presentDisks(directory);
    await keepOrigin(
      directory,
      {
        state: join(loadable.directory, "state"),
        memory: join(loadable.directory, "memory"),
        chain: chainOf(stored.directory, stored.manifest.memory?.levels.length ?? 0),
      },
      { inputs: stored.manifest.machine, generation, stateId: stored.id },
    );
    machine = await launchVm({
      context,
      machines,
      record,
      spans,
      rootDirectory: root.directory,
      disks,
      stateDirectory: loadable.directory,
      mounted: true,
    });
    hears.onMachine(machine);
    const agent = await spans.time("load and hello", () =>
      reachAgent(machine!, {
        filler: true,
        timeoutMs: AGENT_TIMEOUT_MS,
        signal: operation.signal,
        ...hears,
      }),
    );
    try {
      await context.reached?.("load.greeted");
      const { timings } = await spans.time("restore", () => becomeAnother(agent, record, generation));
      addGuestSpans(spans, timings);
      await context.reached?.("load.restored");
      const limits = diskLimitsOf(record.spec);
      if (limits !== undefined) await spans.time("disk limits", () => machine!.limitDisks(limits));
      return { machine, agent };
    } catch (error) {
      agent.close();
      throw error;
    }
  } catch (error) {
    await machine?.kill();
    throw error;
  } finally {
    await loadable.release();
  }
}

/** @throws `unsupported` naming the first difference, if it cannot be loaded here */
export async function assertLoadable(
  context: SandboxContext,
  record: Pick<SandboxRecord, "spec">,
  { manifest }: StoredState,
): Promise<void> {
  const { inputsOf } = await context.machines();
  const inputs = await inputsOf(shapeOf(record));
  const difference = mismatch(manifest, { ...inputs, agentProtocol: PROTOCOL_VERSION });
  if (difference === undefined) return;
  throw new SandboxError(
    "unsupported",
    `the stored state of '${manifest.name ?? manifest.id}' cannot be loaded: ${difference}`,
    { hint: "Its memory fits this very machine only. Of a suspended sandbox: 'msb kill' keeps its disk." },
  );
}

async function becomeAnother(
  agent: AgentConnection,
  record: SandboxRecord,
  generation: number,
): Promise<SetupResult> {
  if (!agent.info.frozen)
    throw new SandboxError("internal", "the processes of the stored sandbox do not stand still");
  const link = linkOf(record);
  const result = await restoreGuest(
    agent,
    {
      identity: identityOf(record),
      generation,
      network: link && { ...guestNetworkOf(link), mac: macOf(link.guest.mac) },
    },
    { timeoutMs: RESTORE_TIMEOUT_MS },
  );
  await setClock(agent, result.timeNs);
  return result;
}
