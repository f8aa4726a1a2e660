import { mkdir, readdir, readFile, unlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { createQcow2, rawOfQcow2, readQcow2Info } from "../disk/index.ts";
import { type AgentConnection, freezeGuest, PROTOCOL_VERSION, thawGuest } from "../guest/index.ts";
import type { Capture, Captured, DiskCopy, Machine } from "../machine/index.ts";
import { type MachineIdentity, type MemoryChain, type StateDraft, writeDelta } from "../state/index.ts";
import { storing } from "../storage-error.ts";
import { overlaysOf, writableDirectoryOf } from "./disks.ts";
import type { Reached } from "./faults.ts";
import { setClock } from "./guest-clock.ts";
import { originOf } from "./origin.ts";
import { storeDisk } from "./stored-disks.ts";
import { VmmFile } from "./vmm-file.ts";
import { copyOverlay, readerOverlay, volumeRole } from "./volume-disks.ts";

/**
 * A running sandbox as it is at one moment, into a state that is being made: its processes stand still, then its VM does, memory and
 * device state are read, and both go on. What is written afterwards goes into neither.
 *
 * Whatever fails on the way, the sandbox goes on; if even that fails, it is given up.
 */

/** Names of the files that QEMU copies disks into begin with this. */
const COPY = "copy-";

export interface Subject {
  /** The sandbox's. */
  directory: string;
  machine: Machine;
  agent: AgentConnection;
  /** Of its VMM. */
  uid: number | undefined;
  /** Its VM or its processes could not be made to go on: there is nothing to be done with it but to end it. */
  giveUp(reason: string): Promise<void>;
  /** Both go on again: it may be used. */
  goesOn?(): void;
}

export interface CaptureOptions {
  /** The VM is left standing still, to be ended; its disks are left where they are. Default: it goes on, and they are copied. */
  ends?: boolean;
  /** The state is loaded as soon as it is stored. Default: false */
  loadsSoon?: boolean;
  /** To be copied too. */
  volumes?: readonly CopiedVolume[];
  /** Slots of volumes that are only read: what the guest has written over each is copied. */
  readers?: readonly number[];
  /** Of what it writes to. Needed unless it ends. Default: 0 */
  maxDiskBytes?: number;
  reached: Reached;
}

export interface CopiedVolume {
  slot: number;
  sizeBytes: number;
}

/** What the state is to be made of beside the files in its folder. */
export interface CapturedSandbox {
  memory: MemoryChain;
  machine: MachineIdentity;
  /** Of the sandbox. */
  generation: number;
  /** The state that it was loaded from. */
  parent: string | undefined;
  /** How long its processes stood still, milliseconds; for one that ends, until it was taken. */
  standstillMs: number;
}

/** @returns with `ends` what has it go on all the same */
export function captureSandbox(
  subject: Subject,
  draft: StateDraft,
  options: CaptureOptions,
): Promise<{ what: CapturedSandbox; goOn(): Promise<void> }> {
  return storing("storing the state of a sandbox", () => capture(subject, draft, options));
}

async function capture(
  subject: Subject,
  draft: StateDraft,
  { ends = false, loadsSoon = false, volumes = [], readers = [], maxDiskBytes = 0, reached }: CaptureOptions,
): Promise<{ what: CapturedSandbox; goOn(): Promise<void> }> {
  const { directory, machine } = subject;
  const origin = await originOf(directory);
  const copies: PreparedCopy[] = [];
  let standing: Standing;
  try {
    if (!ends) await prepareCopies(subject, draft, { volumes, readers, maxDiskBytes }, copies);
    const state = await readFile(origin.state);
    const taking = await machine.prepareCapture({ origin: { state, memoryFile: origin.memory }, copies });
    standing = new Standing(subject, taking);
    await standing.begin(reached);
    let taken: Captured | undefined;
    try {
      taken = await taking.take();
      const { memory, state: devices, copied } = taken;
      await reached("taken");
      const write = async () => {
        await writeDelta(draft.directory, origin.chain.deltas.length, memory.runs, (file) =>
          memory.writeTo(file),
        );
        await reached("memory-written");
        await writeFile(join(draft.directory, "state"), devices, { mode: 0o600 });
      };
      if (ends || !memory.held) await write();
      if (!ends) await standing.end(reached);
      // Not while it stands still: a copy of the memory would take the processor and the disk from that.
      if (loadsSoon) draft.anticipateLoading(origin.chain);
      if (!ends && memory.held) await write();
      await copied;
      await reached("disks-copied");
    } catch (error) {
      await standing.end(reached);
      throw error;
    } finally {
      await taken?.memory.release().catch(() => {});
    }
    await Promise.all(copies.map(({ copied, keep }) => keep(copied.path)));
  } finally {
    for (const { copied, file } of copies) {
      await copied[Symbol.asyncDispose]();
      await discard(file);
    }
  }
  const what = {
    memory: origin.chain,
    machine: { ...origin.inputs, agentProtocol: PROTOCOL_VERSION },
    generation: origin.generation,
    parent: origin.stateId,
    standstillMs: standing.ms,
  };
  return { what, goOn: () => standing.end(reached) };
}

/** Processes and VM, while both stand still. */
class Standing {
  readonly #subject: Subject;
  readonly #capture: Capture;
  #still = false;
  #since = 0;
  #until: number | undefined;

  constructor(subject: Subject, capture: Capture) {
    this.#subject = subject;
    this.#capture = capture;
  }

  /** Milliseconds. */
  get ms(): number {
    return (this.#until ?? performance.now()) - this.#since;
  }

  async begin(reached: Reached): Promise<void> {
    this.#since = performance.now();
    try {
      await freezeGuest(this.#subject.agent);
      this.#still = true;
      await reached("frozen");
      await this.#subject.machine.pause();
      await reached("paused");
    } catch (error) {
      await this.#capture.cancel().catch(() => {});
      await this.end(reached);
      throw error;
    }
  }

  /** Both go on, with the right time. Does nothing if they do already. @throws `internal`, and it is given up */
  async end(reached: Reached): Promise<void> {
    if (!this.#still) return;
    this.#still = false;
    const { machine, agent, giveUp } = this.#subject;
    try {
      await machine.resume();
      await reached("resumed");
      // Sent together; the guest does them in this order.
      const clock = setClock(agent);
      await thawGuest(agent, { hooks: false });
      this.#until = performance.now();
      await clock;
      this.#subject.goesOn?.();
      await reached("thawed");
    } catch (error) {
      const reason = `it could not be made to go on after its state was taken: ${SandboxError.from(error).message}`;
      await giveUp(reason);
      throw new SandboxError("internal", `the sandbox has failed: ${reason}`, {
        hint: "Start it again: msb start NAME. Its disk is as it was left.",
        cause: error,
      });
    }
  }
}

interface PreparedCopy extends DiskCopy {
  /** What QEMU copies into. */
  copied: VmmFile;
  /** Puts it into the state's folder. */
  keep(file: string): Promise<void>;
}

/** Files that QEMU copies into what the sandbox has written. @param copies gets them */
async function prepareCopies(
  { directory, uid }: Subject,
  draft: StateDraft,
  { volumes, readers, maxDiskBytes }: Required<Pick<CaptureOptions, "volumes" | "readers" | "maxDiskBytes">>,
  copies: PreparedCopy[],
): Promise<void> {
  const writable = writableDirectoryOf(directory);
  const add = async (copy: Omit<PreparedCopy, "copied">) => {
    const copied = await VmmFile.open(copy.file, { writable: true });
    copies.push({ ...copy, copied });
    if (uid !== undefined) await copied.giveTo(uid);
  };
  const addOverlay = async (role: string, file: string, keep: PreparedCopy["keep"]) => {
    const copy = join(writable, COPY + basename(file));
    await using written = await VmmFile.open(file);
    const { virtualSizeBytes } = await readQcow2Info(written.path);
    // An earlier daemon may have died in the middle.
    await discard(copy);
    await createQcow2(copy, { virtualSizeBytes });
    await add({ role, file: copy, what: "own", keep });
  };
  const disks = join(draft.directory, "disks");
  for (const { role, file, levels } of await overlaysOf(directory))
    await addOverlay(role, file, (own) => storeDisk(join(disks, role), levels, own, maxDiskBytes));
  for (const slot of readers) {
    const role = volumeRole(slot);
    await addOverlay(role, join(writable, readerOverlay(slot)), async (own) => {
      await mkdir(join(disks, role), { recursive: true, mode: 0o700 });
      await copyOverlay(own, join(disks, role, "0"));
    });
  }
  if (volumes.length > 0) await mkdir(join(draft.directory, "volumes"), { mode: 0o700 });
  for (const { slot, sizeBytes } of volumes) {
    const copy = join(writable, COPY + readerOverlay(slot));
    await discard(copy);
    // Into a raw file QEMU would write all the zeros too.
    await createQcow2(copy, { virtualSizeBytes: sizeBytes });
    const kept = join(draft.directory, "volumes", String(slot));
    const keep = (disk: string) => rawOfQcow2(disk, kept, sizeBytes);
    await add({ role: volumeRole(slot), file: copy, what: "all", keep });
  }
}

/** Ends what a daemon that has died while it took the state of this VM had left copying, and removes the copies. */
export async function discardCopies(directory: string, machine: Machine): Promise<void> {
  const writable = writableDirectoryOf(directory);
  const copies = (await readdir(writable)).filter((name) => name.startsWith(COPY));
  if (copies.length === 0) return;
  await machine.endCopies();
  await Promise.all(copies.map((name) => discard(join(writable, name))));
}

/** What else a VMM may have put in its place stays in its folder. */
async function discard(file: string): Promise<void> {
  await unlink(file).catch(() => {});
}
