import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FAULT_STEPS } from "../src/engine/fault-injection.ts";
import { Sandbox, Snapshot } from "../src/sdk/index.ts";
import { COUNT, countOf, countsOn } from "./counter.ts";
import { clockError, WRONG_MS } from "./guest-clock.ts";
import { isAlive, SandboxDriver, until } from "./sandbox-driver.ts";

/**
 * One operation on a sandbox, broken off where it has come to a step, and what is looked at afterwards: the state is whole or absent,
 * the sandbox lives on (its processes too) or says why it does not, and nothing is left over.
 */

export type Operation = "snapshot" | "fork" | "suspend" | "wake";
/** `kill`: the daemon dies there; `kill-vm`: the VM does; `fail`, `enospc`: the step fails. */
export type What = "kill" | "kill-vm" | "fail" | "enospc";

export interface Fault {
  operation: Operation;
  step: string;
  what: What;
}

const WHATS: readonly What[] = ["kill", "kill-vm", "fail", "enospc"];
/** Steps that an operation comes to beside its own. */
const PARTS: Record<Operation, readonly string[]> = {
  snapshot: ["state"],
  fork: ["state", "load"],
  suspend: ["state"],
  wake: ["load"],
};
/** Never come to, unless something has failed before. */
const UNREACHED = new Set(["suspend.resumed", "suspend.thawed"]);
/** What one round of the tests does; all the others are for the soak. */
const IN_SUITE = new Set([
  "snapshot snapshot.paused kill",
  "snapshot snapshot.taken kill-vm",
  "snapshot snapshot.memory-written enospc",
  "snapshot state.described kill",
  "fork fork.frozen kill",
  "fork fork.disks-copied fail",
  "fork load.greeted kill",
  "fork load.restored kill-vm",
  "suspend suspend.taken kill",
  "suspend suspend.memory-written enospc",
  "suspend suspend.suspended kill",
  "suspend state.published fail",
  "suspend suspend.stored kill-vm",
  "suspend suspend.suspended kill-vm",
  "wake wake.loaded fail",
  "wake load.greeted kill",
  "wake wake.running kill",
  "wake wake.running fail",
]);

/** Steps at which a disk that is full is found to be. */
const WRITES = /\.(taken|memory-written|disks-copied)$|^state\./;

export function faultsOf(operation: Operation): Fault[] {
  const rooms = [operation, ...PARTS[operation]];
  return FAULT_STEPS.filter((step) => rooms.includes(step.split(".")[0]!) && !UNREACHED.has(step)).flatMap(
    (step) => WHATS.map((what) => ({ operation, step, what })),
  );
}

const OPERATIONS: readonly Operation[] = ["snapshot", "fork", "suspend", "wake"];
export const GROUPS = OPERATIONS.map((operation) => ({
  operation,
  all: faultsOf(operation),
  inSuite: faultsOf(operation).filter(({ step, what }) => IN_SUITE.has(`${operation} ${step} ${what}`)),
}));
if (GROUPS.reduce((sum, { inSuite }) => sum + inSuite.length, 0) !== IN_SUITE.size)
  throw new Error("a fault of the suite names a step that there is not");

/** A home whose daemon is told where to break off, and one sandbox in it. */
export class FaultRoom implements AsyncDisposable {
  readonly driver: SandboxDriver;
  readonly #file: string;

  private constructor(driver: SandboxDriver, file: string) {
    this.driver = driver;
    this.#file = file;
  }

  static async open(name: string): Promise<FaultRoom> {
    const file = join(tmpdir(), `msb-fault-${process.pid}`);
    return new FaultRoom(await SandboxDriver.open(name, { env: { MSB_FAULT: file } }), file);
  }

  /** The next that comes to this step. */
  async arm(step: string, action: string): Promise<void> {
    await writeFile(this.#file, `${step}=${action}`);
  }

  /** Whether somebody has come to the step since. */
  get done(): boolean {
    return !existsSync(this.#file);
  }

  /** Waits until an operation is held. */
  async held(): Promise<void> {
    await until(() => existsSync(join(this.driver.home, "fault-held")), "the step is reached");
  }

  async letGo(): Promise<void> {
    await rm(join(this.driver.home, "fault-held"), { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#file, { force: true });
    await this.driver[Symbol.asyncDispose]();
  }
}

const NAME = "parent";

/** @returns what was not as promised */
export async function brokenOff(room: FaultRoom, fault: Fault): Promise<string[]> {
  const { driver } = room;
  const { connection } = driver;
  const { operation, step, what } = fault;
  const broken: string[] = [];
  const holds = (kept: boolean, text: string) => {
    if (!kept) broken.push(text);
  };
  /** It goes on from where it was, or later. */
  const countsFrom = async (from: number, one: Sandbox, who: string) => {
    const counted = await countsOn(one, 10_000).catch((failure) => `${failure}`);
    holds(Number(counted) >= from, `${who} had counted to ${from}, and says ${counted}`);
  };
  const sandbox = await theSandbox(driver);
  const before = await countOf(sandbox);
  if (operation === "wake") await sandbox.suspend();
  const snapshotsBefore = await namesOfSnapshots(driver);
  const daemon = await driver.daemonPid();

  await room.arm(step, what === "kill-vm" ? "hold" : what);
  let children: Sandbox[] = [];
  const doing = act(sandbox, operation).then(
    (made) => {
      children = made;
    },
    (error) => error as Error,
  );
  if (what === "kill-vm") {
    await room.held();
    // Of a fork's child too, where it has one by then.
    for (const pid of await driver.vmPids()) process.kill(pid, "SIGKILL");
    await until(async () => (await driver.vmPids()).length === 0, "the VMs are gone");
    await room.letGo();
  }
  const error = await doing;
  holds(room.done, "the step was not reached");
  if (what === "kill") await until(async () => !(await isAlive(daemon)), "the daemon is gone");
  else holds((await driver.daemonPid()) === daemon, "the daemon did not live on");
  if (what === "enospc" && WRITES.test(step) && error !== undefined)
    holds((error as { code?: string }).code === "resource_exhausted", `the error of a full disk is ${error}`);

  // The sandbox lives on with its processes, or says why it does not.
  const again = await Sandbox.get(NAME, { connection });
  const { state, reason } = again.info;
  const taken = (await namesOfSnapshots(driver)).filter((name) => !snapshotsBefore.includes(name));
  if (error === undefined) {
    // Who is told that it was done has it.
    if (operation === "snapshot") holds(taken.length === 1, `there are ${taken.length} snapshots of it`);
    if (operation === "suspend") holds(state === "suspended", `it is ${state}, and was suspended`);
    if (operation === "wake" && what !== "kill-vm")
      holds(state === "running", `it is ${state}, and was woken`);
    if (operation === "fork") holds(children.length === 1, `it has ${children.length} children`);
  }
  for (const child of children) {
    if (what !== "kill-vm") await countsFrom(before, child, "the child");
    await child.remove({ force: true });
  }
  // One that cannot go on is ended. The kernel of a VM that was not to be may have written to its disks.
  const wrote = operation === "wake" && (reason ?? "").includes("had written to its disks");
  const cannotGoOn = what !== "kill" && /\.(resumed|thawed|running|gone-on)$/.test(step);
  const mayDie = what === "kill-vm" || wrote || cannotGoOn;
  if (state === "running" || state === "suspended") {
    await countsFrom(before, again, "it");
    const wrongMs = await clockError(again).catch(() => Number.NaN);
    holds(wrongMs <= WRONG_MS, `its clock is wrong by ${wrongMs} ms`);
  } else {
    holds(mayDie && state === "failed" && (reason ?? "") !== "", `it is ${state}: ${reason}`);
  }

  // The state is whole or absent.
  for (const name of taken) {
    const snapshot = await Snapshot.get(name, { connection });
    await snapshot.verify().catch((failure) => broken.push(`${name} is damaged: ${failure}`));
    const restored = await snapshot.restore().catch((failure) => {
      broken.push(`${name} cannot be restored: ${failure}`);
      return [];
    });
    for (const child of restored) {
      await countsFrom(before, child, "restored, it");
      await child.remove({ force: true });
    }
    await snapshot.remove();
  }
  broken.push(...(await leftOver(driver)));
  if (broken.length > 0) broken.push(`the operation: ${error ?? "was done"}`);
  // The next begins with a sandbox that nothing has happened to.
  if (broken.length > 0 || (await again.inspect()).state !== "running") await again.remove({ force: true });
  return broken;
}

async function theSandbox(driver: SandboxDriver): Promise<Sandbox> {
  const there = await Sandbox.list({ connection: driver.connection });
  const known = there.find(({ name }) => name === NAME);
  if (known?.info.state === "running") return known;
  await known?.remove({ force: true });
  return driver.create({ name: NAME, command: ["sh", "-c", COUNT] });
}

/** @returns the children, of a fork */
async function act(sandbox: Sandbox, operation: Operation): Promise<Sandbox[]> {
  if (operation === "fork") return sandbox.fork({ name: "child" });
  if (operation === "snapshot") await sandbox.snapshot({ name: "taken" });
  if (operation === "suspend") await sandbox.suspend();
  if (operation === "wake") await sandbox.resume();
  return [];
}

async function namesOfSnapshots({ connection }: SandboxDriver): Promise<string[]> {
  return (await Snapshot.list({ connection })).map(({ name }) => name);
}

/** Whatever belongs to nobody: folders, VMs, files that a disk is copied into, and states that nobody uses. */
async function leftOver(driver: SandboxDriver): Promise<string[]> {
  const left: string[] = [];
  const sandboxes = await Sandbox.list({ connection: driver.connection });
  const live = sandboxes.filter(({ info }) => info.state === "running");
  // A child of a fork that its daemon did not survive may be there, whole and running: it is a sandbox.
  const ids = sandboxes.map(({ id }) => id);
  const strangers = (await driver.files("sandboxes")).filter((id) => !ids.includes(id));
  left.push(...strangers.map((id) => `sandboxes/${id} is nobody's`));
  const runs = (await driver.files("run")).filter((name) => !name.startsWith("daemon."));
  const theirs = live.map(({ id }) => id.slice(0, 8));
  left.push(...runs.filter((run) => !theirs.includes(run)).map((run) => `run/${run} is nobody's`));
  const vms = await driver.vmPids();
  if (vms.length !== live.length) left.push(`${vms.length} VMs, and ${live.length} sandboxes run`);
  for (const id of await driver.files("sandboxes")) {
    const files = await driver.files(join("sandboxes", id, "disk"));
    left.push(
      ...files.filter((file) => file.startsWith("copy-")).map((file) => `sandboxes/${id}/disk/${file}`),
    );
  }
  const suspended = sandboxes.filter(({ info }) => info.state === "suspended").length;
  const states = (await driver.files("states")).filter((name) => !name.endsWith(".memory"));
  if (states.length !== suspended) left.push(`states: ${states.join(", ")}`);
  for (const stray of sandboxes.filter(({ name }) => name !== NAME)) {
    left.push(...(stray.info.state === "running" ? [] : [`'${stray.name}' is ${stray.info.state}`]));
    await stray.remove({ force: true });
  }
  return left;
}
