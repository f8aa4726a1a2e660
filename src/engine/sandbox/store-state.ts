import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { SnapshotRequest } from "../../contract/index.ts";
import { PROTOCOL_VERSION } from "../guest/index.ts";
import type { FinishOptions, StoredState } from "../state/index.ts";
import { copyDisk } from "../volume/index.ts";
import { type CopiedVolume, captureSandbox, type Subject } from "./capture.ts";
import type { SandboxContext } from "./context.ts";
import { diskBytesOf, overlaysOf } from "./disks.ts";
import type { KeptRecord } from "./kept-record.ts";
import { directoryOf, shapeOf } from "./launch-vm.ts";
import { assertLegal } from "./lifecycle.ts";
import type { LiveMachine } from "./live-machine.ts";
import { volumesOf } from "./mounts.ts";
import type { SandboxRecord } from "./record.ts";
import type { Standstill } from "./standstill.ts";
import { storeDisk } from "./stored-disks.ts";
import { describeSandbox } from "./stored-sandbox.ts";
import { slotsToCopy, slotsToShare } from "./stored-volumes.ts";
import { VmmFile } from "./vmm-file.ts";

/** A sandbox as a state of its own: of one that runs all of it, of one that is stopped its disks. */

export interface StateOptions {
  name?: string | undefined;
  volumes: SnapshotRequest["volumes"];
  /** Whether those that begin with it do so while this one runs, so that volumes that nobody writes to are theirs too. */
  now: boolean;
  prepared?: SnapshotRequest["prepared"];
  finish: FinishOptions;
}

/** For steps that tests break off. */
export type Operation = "snapshot" | "fork";

/** The parts of a sandbox that its storing has to do with. */
export interface Stored {
  readonly context: SandboxContext;
  readonly kept: KeptRecord;
  readonly standstill: Standstill;
  readonly vm: LiveMachine;
}

/** @throws `invalid_state` for its state or volumes; what the disk or the guest fails with. It goes on as it was */
export async function storeSandbox(
  parts: Stored,
  options: StateOptions,
  operation: Operation,
): Promise<StoredState> {
  const { context, kept, standstill, vm } = parts;
  const { name, state } = kept.now;
  assertLegal(operation, name, state);
  if (state === "stopped") {
    const stored = await standstill.alone(async () =>
      kept.now.state === "stopped" ? await storeStopped(context, kept.now, options) : undefined,
    );
    // It was started meanwhile.
    return stored ?? (await storeSandbox(parts, options, operation));
  }
  return standstill.running(async (goesOn) => {
    assertLegal("exec", name, kept.now.state);
    const running = { machine: vm.machine!, agent: vm.agent!, giveUp: vm.giveUp, goesOn };
    return storeRunning(context, kept.now, running, options, operation);
  });
}

async function storeRunning(
  context: SandboxContext,
  record: SandboxRecord,
  parts: Pick<Subject, "machine" | "agent" | "giveUp" | "goesOn">,
  options: StateOptions,
  operation: Operation,
): Promise<StoredState> {
  const { name, volumes, now, prepared, finish } = options;
  const copiedSlots = slotsToCopy(record, volumes, { sharesReadOnly: now });
  const copied = await volumesIn(context, record, copiedSlots);
  const directory = directoryOf(context, record.id);
  const reached = (step: string) => context.reached?.(`${operation}.${step}`);
  await using draft = await context.states.draft();
  const { assets } = await context.machines();
  const maxDiskBytes = diskBytesOf(record.spec, assets.blankBytes);
  const subject = { ...parts, directory, uid: record.uid };
  const { what } = await captureSandbox(subject, draft, {
    loadsSoon: now,
    volumes: copied,
    readers: slotsToShare(record, copiedSlots),
    maxDiskBytes,
    reached,
  });
  const standstillMs = Math.round(what.standstillMs * 10) / 10;
  context.events.add({
    type: "sandbox.stored",
    sandbox: record.id,
    message: `its processes stood still for ${standstillMs} ms`,
    data: { name: record.name, standstillMs },
  });
  const described = { ...(await describeSandbox(directory, record)), prepared };
  const { generation, parent, machine: identity, memory } = what;
  const stored = await draft.finish(
    { kind: "running", name, parent, generation, machine: identity, record: described, memory },
    finish,
  );
  try {
    await reached("stored");
  } catch (error) {
    await context.states.remove(stored.id);
    throw error;
  }
  return stored;
}

/** The disk of one that is stopped. */
async function storeStopped(
  context: SandboxContext,
  record: SandboxRecord,
  { name, volumes, prepared, finish }: StateOptions,
): Promise<StoredState> {
  const volumeSlots = slotsToCopy(record, volumes, { sharesReadOnly: false });
  const directory = directoryOf(context, record.id);
  await using draft = await context.states.draft();
  const overlays = await overlaysOf(directory);
  // What it has written is in the one that it was left with; beside it the other is a throwaway.
  const { file, levels } = overlays.find(({ role }) => role === "kept") ?? overlays[0]!;
  await using written = await VmmFile.open(file);
  const { inputsOf, assets } = await context.machines();
  const maxDiskBytes = diskBytesOf(record.spec, assets.blankBytes);
  await storeDisk(join(draft.directory, "disks", "kept"), levels, written.path, maxDiskBytes);
  await copyVolumes(context, record, join(draft.directory, "volumes"), volumeSlots, finish.signal);
  const machine = { ...(await inputsOf(shapeOf(record))), agentProtocol: PROTOCOL_VERSION };
  const described = { ...(await describeSandbox(directory, record)), prepared };
  // What its VM had been loaded from went with that.
  return await draft.finish({ kind: "stopped", name, generation: 0, machine, record: described }, finish);
}

async function copyVolumes(
  context: SandboxContext,
  record: SandboxRecord,
  folder: string,
  slots: readonly number[],
  signal: AbortSignal | undefined,
): Promise<void> {
  if (slots.length === 0) return;
  await mkdir(folder, { mode: 0o700 });
  // Nobody may write to them meanwhile, as with any reader.
  const reader = { id: `${record.id}/snapshot`, name: record.name };
  const uses = volumesOf(record.spec.mounts).map(({ name }) => ({ name, readOnly: true }));
  context.holds.hold(reader, uses);
  try {
    for (const { slot, file } of await volumesIn(context, record, slots))
      await copyDisk(file, join(folder, String(slot)), { signal });
  } finally {
    context.holds.release(reader.id);
  }
}

async function volumesIn(
  context: SandboxContext,
  { spec }: SandboxRecord,
  slots: readonly number[],
): Promise<(CopiedVolume & { file: string })[]> {
  const mounts = volumesOf(spec.mounts);
  return Promise.all(
    slots.map(async (slot) => {
      const { file, sizeMiB } = await context.volumes.get(mounts[slot]!.name);
      return { slot, file, sizeBytes: sizeMiB * 1024 ** 2 };
    }),
  );
}
