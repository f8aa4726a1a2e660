import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { createQcow2, readQcow2Info } from "../disk/index.ts";
import { type AgentConnection, freezeGuest, PROTOCOL_VERSION, thawGuest } from "../guest/index.ts";
import type { Capture, DiskCopy, Machine } from "../machine/index.ts";
import {
  type MachineIdentity,
  type MemoryChain,
  PAGE_BYTES,
  type StateDraft,
  writeDelta,
} from "../state/index.ts";
import { copyDisk } from "../volume/index.ts";
import { overlaysOf, writableDirectoryOf } from "./disks.ts";
import type { Reached } from "./faults.ts";
import { originOf } from "./origin.ts";
import { PageStream } from "./page-stream.ts";
import { storeDisk } from "./stored-disks.ts";
import { VmmFile } from "./vmm-file.ts";

/**
 * A running sandbox as it is at one moment, into a state that is being made: its processes stand still, then its VM does, memory and
 * device state are read, and both go on. What is written afterwards goes into neither.
 *
 * Whatever fails on the way, the sandbox goes on; if even that fails, the caller hears of it by `StillStanding`.
 */

/** A guest that is slower than this to hear the time has its heartbeat to tell of it. */
const CLOCK_TIMEOUT_MS = 5_000;

export interface Subject {
  /** The sandbox's. */
  directory: string;
  machine: Machine;
  agent: AgentConnection;
  /** Of its VMM. */
  uid: number | undefined;
}

export interface CaptureOptions {
  /** The VM is left standing still, to be ended; its disks are left where they are. Default: it goes on, and they are copied. */
  ends?: boolean;
  /** The state is loaded as soon as it is stored. Default: false */
  loadsSoon?: boolean;
  /** Slots of volumes to be copied too. */
  volumeSlots?: readonly number[];
  reached: Reached;
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

/** Its VM or its processes could not be made to go on: there is nothing to be done with it but to end it. */
export class StillStanding extends Error {
  override readonly cause: unknown;
  constructor(cause: unknown) {
    super("the sandbox could not be made to go on after its state was taken");
    this.cause = cause;
  }
}

/** @returns with `ends` what has it go on all the same */
export async function captureSandbox(
  subject: Subject,
  draft: StateDraft,
  { ends = false, loadsSoon = false, volumeSlots = [], reached }: CaptureOptions,
): Promise<{ what: CapturedSandbox; goOn(): Promise<void> }> {
  const { directory, machine, agent } = subject;
  const origin = await originOf(directory);
  if (loadsSoon) draft.anticipateLoading(origin.chain);
  const copies = ends ? [] : await prepareCopies(subject, draft, volumeSlots);
  let standing: Standing;
  try {
    const state = await readFile(origin.state);
    const capture = await machine.prepareCapture({ origin: { state, memoryFile: origin.memory }, copies });
    standing = new Standing(machine, agent, capture);
    await standing.begin(reached);
    try {
      const taken = await capture.take();
      await reached("taken");
      const write = async () => {
        const { runs } = taken.memory;
        const pages = new PageStream(taken.memory.read());
        await writeDelta(draft.directory, origin.chain.deltas.length, runs, ({ count }) =>
          pages.take(count * PAGE_BYTES),
        );
        await reached("memory-written");
        await writeFile(join(draft.directory, "state"), taken.state, { mode: 0o600 });
      };
      if (ends || !taken.memory.held) await write();
      if (!ends) await standing.end(reached);
      if (!ends && taken.memory.held) await write();
      await taken.copied;
      await reached("disks-copied");
    } catch (error) {
      await standing.end(reached);
      throw error;
    }
    await Promise.all(copies.map(({ copied, keep }) => keep(copied.path)));
  } finally {
    await discardCopies(copies);
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
  readonly #machine: Machine;
  readonly #agent: AgentConnection;
  readonly #capture: Capture;
  #still = false;
  #since = 0;
  #until: number | undefined;

  constructor(machine: Machine, agent: AgentConnection, capture: Capture) {
    this.#machine = machine;
    this.#agent = agent;
    this.#capture = capture;
  }

  /** Milliseconds. */
  get ms(): number {
    return (this.#until ?? performance.now()) - this.#since;
  }

  async begin(reached: Reached): Promise<void> {
    this.#since = performance.now();
    try {
      await freezeGuest(this.#agent);
      this.#still = true;
      await reached("frozen");
      await this.#machine.pause();
      await reached("paused");
    } catch (error) {
      await this.#capture.cancel().catch(() => {});
      await this.end(reached);
      throw error;
    }
  }

  /** Both go on, with the right time. Does nothing if they do already. @throws `StillStanding` */
  async end(reached: Reached): Promise<void> {
    if (!this.#still) return;
    this.#still = false;
    try {
      await this.#machine.resume();
      await reached("resumed");
      const setTimeNs = BigInt(Date.now()) * 1_000_000n;
      // Sent together; the guest does them in this order.
      const clock = this.#agent.ping({ setTimeNs, timeoutMs: CLOCK_TIMEOUT_MS }).catch(() => {});
      await thawGuest(this.#agent, { hooks: false });
      await clock;
      this.#until = performance.now();
      await reached("thawed");
    } catch (error) {
      throw new StillStanding(error);
    }
  }
}

interface PreparedCopy extends DiskCopy {
  /** What QEMU copies into. */
  copied: VmmFile;
  /** Puts it into the state's folder. */
  keep(file: string): Promise<void>;
}

async function discardCopies(copies: readonly PreparedCopy[]): Promise<void> {
  for (const { copied, file } of copies) {
    await copied[Symbol.asyncDispose]();
    await rm(file, { force: true });
  }
}

/** Files that QEMU copies into what the sandbox has written. */
async function prepareCopies(
  { directory, uid }: Subject,
  draft: StateDraft,
  volumeSlots: readonly number[],
): Promise<PreparedCopy[]> {
  const writable = writableDirectoryOf(directory);
  const copies: PreparedCopy[] = [];
  const add = async (copy: Omit<PreparedCopy, "copied">) => {
    const copied = await VmmFile.open(copy.file, { writable: true });
    copies.push({ ...copy, copied });
    if (uid !== undefined) await copied.giveTo(uid);
  };
  try {
    for (const { role, file, levels } of await overlaysOf(directory)) {
      const copy = join(writable, `copy-${basename(file)}`);
      await using written = await VmmFile.open(file);
      const { virtualSizeBytes } = await readQcow2Info(written.path);
      // An earlier daemon may have died in the middle.
      await rm(copy, { force: true });
      await createQcow2(copy, { virtualSizeBytes });
      const folder = join(draft.directory, "disks", role);
      await add({ role, file: copy, what: "own", keep: (own) => storeDisk(folder, levels, own) });
    }
    if (volumeSlots.length > 0) await mkdir(join(draft.directory, "volumes"), { mode: 0o700 });
    for (const slot of volumeSlots) {
      const copy = join(writable, `copy-volume${slot}.ext4`);
      await rm(copy, { force: true });
      await writeFile(copy, "", { mode: 0o600, flag: "wx" });
      const kept = join(draft.directory, "volumes", String(slot));
      await add({ role: `volume${slot}`, file: copy, what: "all", keep: (disk) => copyDisk(disk, kept) });
    }
    return copies;
  } catch (error) {
    await discardCopies(copies);
    throw error;
  }
}
