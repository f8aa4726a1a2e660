import { rm } from "node:fs/promises";
import { DEFAULT_DISK_MIB, SandboxError, type SandboxSpec, sandboxSpec } from "../../contract/index.ts";
import {
  type AgentConnection,
  freezeGuest,
  type GuestRestore,
  restoreGuest,
  thawGuest,
} from "../guest/index.ts";
import type { Digest, StoredImage } from "../image/index.ts";
import type { Machine } from "../machine/index.ts";
import { toBackground, toForeground } from "./background.ts";
import { processSpec } from "./command.ts";
import type { SandboxContext } from "./context.ts";
import { setClock } from "./guest-clock.ts";
import { identityOf, newId } from "./identity.ts";
import { directoryOf, runDirectoryOf } from "./launch-vm.ts";
import { guestNetworkOf, linkOf, macOf } from "./network.ts";
import type { SandboxRecord } from "./record.ts";
import type { SandboxRegistry } from "./registry.ts";
import { Spans } from "./spans.ts";
import { type AgentListeners, startMachine } from "./start.ts";
import { within } from "./within.ts";

/**
 * A VM that waits for somebody to claim it: loaded, with its image mounted, addresses of its own and a command behind it, it stands still
 * and is nobody yet. Whoever claims it hands over an identity and has it go on. It is in no record: a daemon that finds one sweeps it.
 */

/** What a warm VM can be asked for by. */
export interface WarmShape {
  cpus: number;
  memoryMiB: number;
  /** Whether it has an interface. */
  network: boolean;
}

/** The highest number of a channel: what a sandbox runs begins with 1, and no number is used twice. */
const LAST_CHANNEL = 2 ** 31 - 1;
/**
 * What most images have and most programs do: a shell, output, a command that is looked for, a folder that is listed, a file that is read.
 * Under emulation the first run of each takes 15 ms of a processor, the next ones 8.
 */
const COMMANDS = [["sh", "-c", "echo"], ["true"], ["ls", "/"], ["cat", "/etc/hostname"]];
/** A slow host's; a command that ends later than this was no good idea. */
const COMMAND_MS = 20_000;
const RESTORE_MS = 10_000;
/** Whoever claims one waits for this, and could start another in less. */
const CLAIM_MS = 5_000;

/**
 * The shape that serves a spec. Undefined for a spec with what must be there before the image is mounted, or at the start of the VM:
 * mounts, bounds of its disks, another size of the disk, and a group.
 */
export function warmShapeOf(spec: SandboxSpec): WarmShape | undefined {
  const { cpus, memoryMiB, diskMiB, diskIops, diskBytesPerSecond, mounts, network } = spec;
  if (mounts.length > 0 || diskIops !== undefined || diskBytesPerSecond !== undefined) return undefined;
  if (diskMiB !== DEFAULT_DISK_MIB || network.group !== undefined) return undefined;
  return { cpus, memoryMiB, network: network.scope !== "none" };
}

/** What a warm VM hands on to the record of the sandbox that claims it. */
type Handed = Pick<SandboxRecord, "id" | "uid" | "machine" | "linkNumber">;

export class WarmVm {
  readonly imageDigest: Digest;
  readonly machine: Machine;
  readonly agent: AgentConnection;
  /** Resolves with the reason when it can be claimed no more. */
  readonly gone: Promise<string>;
  readonly #context: SandboxContext;
  readonly #record: SandboxRecord;
  readonly #voice: Voice;
  readonly #releaseLink: () => void;
  #acknowledged = false;
  #recorded = false;

  /** Made by `warmUp` only. */
  constructor(
    context: SandboxContext,
    record: SandboxRecord,
    started: { machine: Machine; agent: AgentConnection },
    own: { voice: Voice; releaseLink: () => void },
  ) {
    this.#context = context;
    this.#record = record;
    this.#voice = own.voice;
    this.#releaseLink = own.releaseLink;
    this.machine = started.machine;
    this.agent = started.agent;
    this.imageDigest = record.imageDigest as Digest;
    this.gone = Promise.race([
      started.machine.exited.then(({ message }) => message),
      started.agent.closed.then(({ error }) => error.message),
    ]);
  }

  get handed(): Handed {
    const { id, uid, linkNumber } = this.#record;
    return { id, uid, linkNumber, machine: this.machine.record };
  }

  /** It has become a sandbox. */
  get acknowledged(): boolean {
    return this.#acknowledged;
  }

  /** What it has beside its VM is the sandbox's from now on: its folders, its uid, its place among the links. */
  recorded(): void {
    this.#recorded = true;
    this.#releaseLink();
  }

  /**
   * Makes it the VM of the sandbox of `record`: it goes on once the guest has acknowledged that it is another one.
   * @throws what failed; then it is good for nothing but to be discarded
   */
  async become(record: SandboxRecord, hears: AgentListeners): Promise<void> {
    const { agent, machine } = this;
    this.#voice.heard = hears;
    const wait = { timeoutMs: CLAIM_MS };
    const reached = (step: string) => this.#context.reached?.(`claim.${step}`);
    await reached("recorded");
    // The requests wait in the socket for the VM to go on: two round trips less. A guest in which the first has failed refuses the second.
    const [, { timeNs }] = await Promise.all([
      machine.resume(),
      restoreGuest(agent, identityFor(record), wait),
      thawGuest(agent, { hooks: false }, wait),
    ]);
    await setClock(agent, timeNs);
    await reached("thawed");
    this.#acknowledged = true;
  }

  /** Ends it, and leaves nothing. Doing it again does nothing. */
  async discard(): Promise<void> {
    this.agent.close();
    await this.machine.kill();
    if (this.#recorded) return;
    this.#recorded = true;
    this.#releaseLink();
    this.#context.uids.release(this.#record.uid);
    await forget(this.#context, this.#record);
  }
}

/** Nothing that user code has seen was there before: it counts as a first start, and its hooks have nothing to renew. */
function identityFor(record: SandboxRecord): GuestRestore {
  return { identity: identityOf(record), generation: 0, keepConnections: true };
}

/** What an agent says before there is a sandbox to hear it is for nobody. */
class Voice implements AgentListeners {
  heard: AgentListeners = {};
  readonly onLog: AgentListeners["onLog"] = (entry) => this.heard.onLog?.(entry);
  readonly onOutOfMemory: AgentListeners["onOutOfMemory"] = (kills) => this.heard.onOutOfMemory?.(kills);
}

/** Makes one. @throws what failed, `cancelled` by the signal; nothing is left then */
export async function warmUp(
  context: SandboxContext,
  registry: SandboxRegistry,
  image: StoredImage,
  shape: WarmShape,
  signal: AbortSignal,
): Promise<WarmVm> {
  const link = shape.network ? registry.reserveLink() : undefined;
  const releaseLink = () => link?.release();
  const record = recordFor(image, shape, context.uids.acquire());
  const voice = new Voice();
  const hears = {
    ...voice,
    onMachine: () => {},
    mountFolder: () => Promise.reject(new SandboxError("internal", "a warm VM has no folders")),
  };
  try {
    const started = await startMachine(context, record, new Spans(), { signal }, hears);
    const { pid } = started.machine.record;
    try {
      // Not before: a template that is slow to answer is taken for a damaged one.
      toBackground(pid);
      const own = { ...record, linkNumber: link?.number };
      await prepare(started.agent, own, image, signal);
      await started.machine.pause();
      toForeground(pid);
      signal.throwIfAborted();
      return new WarmVm(context, own, started, { voice, releaseLink });
    } catch (error) {
      started.agent.close();
      await started.machine.kill();
      throw error;
    }
  } catch (error) {
    releaseLink();
    context.uids.release(record.uid);
    await forget(context, record);
    throw error;
  }
}

/**
 * Goes through all that a claim and its first command do, so that it is translated, read and mapped by then; and gives it the addresses that
 * it will have. It stands still in the end.
 */
async function prepare(
  agent: AgentConnection,
  record: SandboxRecord,
  image: StoredImage,
  signal: AbortSignal,
): Promise<void> {
  const link = linkOf(record);
  const network = link && { ...guestNetworkOf(link), mac: macOf(link.guest.mac) };
  const wait = { timeoutMs: RESTORE_MS, signal };
  await freezeGuest(agent, { signal });
  await restoreGuest(agent, { ...identityFor(record), network }, wait);
  await thawGuest(agent, { hooks: false }, wait);
  for (const [number, argv] of COMMANDS.entries())
    await runCommand(agent, LAST_CHANNEL - number, argv, record, image, signal);
  await freezeGuest(agent, { signal });
  // As a claim does it, without another network: that is another way through the guest.
  await restoreGuest(agent, identityFor(record), wait);
}

async function runCommand(
  agent: AgentConnection,
  channel: number,
  argv: string[],
  { spec }: SandboxRecord,
  image: StoredImage,
  signal: AbortSignal,
): Promise<void> {
  const asked = processSpec(spec, image.config, { argv, env: {} }, true);
  const process = await agent.start(channel, asked, { signal }).catch((error) => {
    // An image that has no such command, or not its own user: that it cannot be run has been gone through too.
    if (SandboxError.from(error).details?.exitCode === undefined) throw error;
    return undefined;
  });
  if (process === undefined) return;
  process.onOutput((stream, offset, chunk) => process.ack(stream, offset + chunk.length));
  process.endStdin();
  // If its stream ends first, what comes next says so.
  const over = process.exited.then(
    () => true,
    () => true,
  );
  if (!(await within(COMMAND_MS, over)))
    throw new SandboxError("timeout", `'${argv.join(" ")}' did not end in a warm VM`);
  process.release();
}

function recordFor(
  { digest }: StoredImage,
  { cpus, memoryMiB, network }: WarmShape,
  uid: number | undefined,
): SandboxRecord {
  const id = newId();
  const scope = network ? {} : { network: { scope: "none" as const } };
  return {
    id,
    name: `warm-${id}`,
    spec: { ...sandboxSpec.parse({ image: digest, cpus, memoryMiB, ...scope }), files: [] },
    imageDigest: digest,
    state: "creating",
    createdAt: new Date().toISOString(),
    timings: [],
    hasRun: false,
    reservedProcesses: 0,
    temporary: true,
    uid,
  };
}

async function forget(context: SandboxContext, { id }: SandboxRecord): Promise<void> {
  await rm(directoryOf(context, id), { recursive: true, force: true });
  await rm(runDirectoryOf(context, id), { recursive: true, force: true });
}
