import { SandboxError } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import type { StoredState } from "../state/index.ts";
import { captureSandbox } from "./capture.ts";
import type { SandboxContext } from "./context.ts";
import { disksAsTheyAre } from "./disk-marks.ts";
import type { KeptRecord } from "./kept-record.ts";
import { directoryOf } from "./launch-vm.ts";
import type { LiveMachine } from "./live-machine.ts";
import type { NetworkLink } from "./network-link.ts";
import { Spans } from "./spans.ts";
import { describeSandbox } from "./stored-sandbox.ts";
import type { Vigil } from "./vigil.ts";

/**
 * A sandbox as a state on disk, with no VM. It keeps its place: name, disks, volumes, and its ports, whose first visitor wakes it. Its
 * connections end with its VM.
 */

/** The parts of a sandbox that suspension has to do with. */
export interface Suspension {
  readonly context: SandboxContext;
  readonly kept: KeptRecord;
  readonly network: NetworkLink;
  readonly vigil: Vigil;
  readonly vm: LiveMachine;
}

export async function suspendSandbox(parts: Suspension, reason: string | undefined): Promise<void> {
  const { context, kept, vigil, vm } = parts;
  const { id, uid } = kept.now;
  const directory = directoryOf(context, id);
  const reached = (step: string) => context.reached?.(`suspend.${step}`);
  await using draft = await context.states.draft();
  const subject = { directory, machine: vm.machine!, agent: vm.agent!, uid, giveUp: vm.giveUp };
  const captured = await captureSandbox(subject, draft, { ends: true, reached });
  const { memory, machine: identity, generation, parent } = captured.what;
  let stored: StoredState | undefined;
  let machine: Machine;
  try {
    const record = await describeSandbox(directory, kept.now);
    stored = await draft.finish(
      { kind: "running", parent, generation, machine: identity, record, memory },
      { durable: true },
    );
    await reached("stored");
    // Whoever has seen its VM end lets go of it at once, and says so in the record later.
    if (vm.machine === undefined)
      throw new SandboxError("unavailable", "its VM ended while it was suspended");
    // From here on that it ends is no failure.
    kept.transition("suspended", { reason, suspendedIn: stored.id });
    machine = vm.release()!;
  } catch (error) {
    if (stored !== undefined) await context.states.remove(stored.id);
    await captured.goOn();
    throw error;
  }
  try {
    await reached("suspended");
  } finally {
    vigil.rest();
    await endVm(parts, machine);
  }
  await reached("ended");
}

/** Ends its VM. From now on whoever comes to a port of it has it loaded, and its network looks for no other VM at the same place. */
async function endVm({ kept, network, vm }: Suspension, machine: Machine | undefined): Promise<void> {
  await machine?.kill();
  vm.forget();
  kept.save({});
  await network.close();
  await network.adopt(kept.now);
}

/**
 * It is the same sandbox as before: it keeps its machine id, and what an image wants to be renewed in others is not. It stays suspended
 * if it cannot be loaded; if the kernel of a VM that was given up had written to its disks by then, it has failed, as with any VM that dies.
 */
export async function wakeSandbox(parts: Suspension): Promise<void> {
  const { context, kept, vigil, vm } = parts;
  const spans = new Spans();
  const stored = await context.states.get(kept.now.suspendedIn!);
  const reached = (step: string) => context.reached?.(`wake.${step}`);
  await expectNothingWritten(parts);
  const wakingOn = await disksAsTheyAre(context, kept.now);
  // Written down with its VM, before that runs.
  kept.now = { ...kept.now, uid: context.uids.acquire(), wakingOn };
  let agent: AgentConnection;
  try {
    agent = await vm.launch(spans, {}, stored);
    await reached("loaded");
    // Its processes have done nothing yet: up to here it could be loaded again.
    kept.transition("running", {
      reason: undefined,
      suspendedIn: undefined,
      wakingOn: undefined,
      timings: spans.list,
    });
  } catch (error) {
    await vm.release()?.kill();
    await expectNothingWritten(parts, error);
    await endVm(parts, undefined);
    throw error;
  }
  try {
    await reached("running");
    await vm.goOn(agent);
    vigil.goOn(agent);
    await reached("gone-on");
  } catch (error) {
    await vm.giveUp(`its processes could not go on: ${SandboxError.from(error).message}`);
    throw error;
  } finally {
    await context.states.remove(stored.id);
  }
}

/**
 * Its memory must find its disks as its kernel left them.
 *
 * @param cause why it was not woken. @throws `internal`, and it has failed, if a VM that was to wake it has written to them
 */
async function expectNothingWritten({ context, kept, vm }: Suspension, cause?: unknown): Promise<void> {
  const { wakingOn, machine } = kept.now;
  if (wakingOn === undefined || machine === undefined) return;
  const disks = await disksAsTheyAre(context, kept.now);
  const changed = disks.find((disk, i) => disk !== wakingOn[i]);
  if (changed === undefined) return;
  // Why it was suspended is no reason any more.
  kept.now = { ...kept.now, reason: undefined };
  const reason = "a VM that was given up had written to its disks, which its memory does not fit any more";
  await vm.giveUp(reason);
  throw new SandboxError("internal", `the sandbox has failed: ${reason}`, {
    hint: "Start it again: msb start NAME. Its disk is as it was left.",
    details: { changed },
    cause,
  });
}
