import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type LogRecord,
  SandboxError,
  type SandboxInfo,
  type SandboxMetrics,
  type SandboxState,
} from "../../contract/index.ts";
import type { LogOptions, OperationContext } from "../engine.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { ImageConfig } from "../image/index.ts";
import type { Machine, MachineExit } from "../machine/index.ts";
import type { StoredState } from "../state/index.ts";
import { askToEnd } from "./ask-to-end.ts";
import { readChanges } from "./changes.ts";
import { Commands } from "./commands.ts";
import type { SandboxContext } from "./context.ts";
import { GuestFiles } from "./files/index.ts";
import { placeFiles } from "./inline-files.ts";
import { KeptRecord } from "./kept-record.ts";
import { runDirectoryOf } from "./launch-vm.ts";
import { assertLegal, isOver } from "./lifecycle.ts";
import type { Expiry } from "./lifetime.ts";
import { LiveMachine } from "./live-machine.ts";
import { SandboxLog } from "./log.ts";
import { measure } from "./metrics.ts";
import { volumesOf } from "./mounts.ts";
import { NetworkLink } from "./network-link.ts";
import { forNewRun, type SandboxRecord, toInfo } from "./record.ts";
import { saveVolumes } from "./save-volumes.ts";
import { Spans } from "./spans.ts";
import { Standstill } from "./standstill.ts";
import { cancelled, LOG_DIRECTORY } from "./start.ts";
import { type StateOptions, storeSandbox } from "./store-state.ts";
import { suspendSandbox, wakeSandbox } from "./suspension.ts";
import { Vigil } from "./vigil.ts";
import type { WarmVm } from "./warm-vm.ts";
import { within } from "./within.ts";

const DEFAULT_GRACE_MS = 5_000;
/** How long a guest may take to power off beyond its grace (spec: 1,500 ms). */
const POWER_OFF_MS = 5_000;

export interface StartOptions {
  held?: boolean;
  from?: StoredState | undefined;
  warm?: WarmVm | undefined;
}

/** One sandbox: its record, and while it runs its machine, its agent and its processes. */
export class Sandbox {
  readonly id: string;
  readonly name: string;
  readonly imageDigest: string;
  readonly temporary: boolean;
  readonly log: SandboxLog;
  readonly files: GuestFiles;
  readonly commands: Commands;
  readonly network: NetworkLink;
  private readonly context: SandboxContext;
  private readonly image: ImageConfig;
  private readonly onRemoved: () => void;
  private readonly vigil: Vigil;
  private readonly vm: LiveMachine;
  private readonly standstill: Standstill;
  private readonly kept: KeptRecord;
  /** Settles when a stop or an unexpected end has been dealt with. */
  private ending: Promise<void> | undefined;

  constructor(context: SandboxContext, record: SandboxRecord, image: ImageConfig, onRemoved: () => void) {
    this.context = context;
    this.kept = new KeptRecord(context, record);
    ({ id: this.id, name: this.name, imageDigest: this.imageDigest, temporary: this.temporary } = record);
    this.image = image;
    this.onRemoved = onRemoved;
    this.log = new SandboxLog(join(this.directory, LOG_DIRECTORY));
    this.network = new NetworkLink(context, record, this.log.directory, {
      changed: (network) => this.kept.save({ spec: { ...this.record.spec, network } }),
      visited: () => {
        this.vigil.busy()();
        void this.standstill.awake("somebody connects to a port of it").catch(() => {});
      },
      agent: () => this.agent,
    });
    this.vigil = new Vigil(context, record, this.log, {
      expired: (expiry) => void this.expire(expiry).catch(() => {}),
      save: (changes) => this.kept.save(changes),
    });
    this.vm = new LiveMachine({
      context,
      kept: this.kept,
      vigil: this.vigil,
      network: this.network,
      commands: () => this.commands,
      wanted: () => this.ending === undefined,
      fail: (reason) => this.fail(reason),
      onExit: (exit) => void this.onMachineExit(exit),
    });
    const { kept, network, vigil, vm } = this;
    const suspension = { context, kept, network, vigil, vm };
    this.standstill = new Standstill({
      name: record.name,
      vigil: this.vigil,
      suspend: (reason) => suspendSandbox(suspension, reason),
      wake: () => wakeSandbox(suspension),
      machine: () => vm.machine!,
      agent: () => vm.agent,
      reach: () => vm.reach(),
      state: () => this.state,
      transition: (state, changes) => this.kept.transition(state, changes),
      woken: (by) => this.kept.tell("sandbox.woken", by),
    });
    this.commands = new Commands({
      kept: this.kept,
      image,
      log: this.log,
      directory: this.directory,
      busy: () => this.vigil.busy(),
      ready: () => this.ready("a command is run in it"),
      ended: (reason) => this.finish(reason),
    });
    this.files = new GuestFiles(record.name, this.vigil, async (spec) =>
      (await this.ready("its files are used")).start(this.commands.numbers.take(), spec),
    );
  }

  get state(): SandboxState {
    return this.record.state;
  }

  get info(): SandboxInfo {
    return toInfo(this.record, this.vigil.health);
  }

  get linkNumber(): number | undefined {
    return this.record.linkNumber;
  }

  /** It has a VM, or somebody may come to a port of it. */
  get needsDaemon(): boolean {
    if (this.state === "suspended") return this.record.spec.network.ports.length > 0;
    return this.state !== "stopped" && this.state !== "failed";
  }

  private get record(): SandboxRecord {
    return this.kept.now;
  }

  private get agent(): AgentConnection | undefined {
    return this.vm.agent;
  }

  private get machine(): Machine | undefined {
    return this.vm.machine;
  }

  private get directory(): string {
    return join(this.context.paths.sandboxes, this.record.id);
  }

  /**
   * Starts the VM and, if there is one, the main process. After an error the sandbox is `failed` and no VM is left.
   *
   * @param options `held`: the main process waits for `begin`. Default: false. `from`: it goes on from there, with the processes it
   *   has. `warm`: it takes this VM, which its record has
   */
  async start(operation: OperationContext, { held = false, from, warm }: StartOptions = {}): Promise<void> {
    const spans = new Spans();
    this.ending = undefined;
    const uid = warm === undefined ? this.context.uids.acquire() : this.record.uid;
    this.kept.now = from === undefined ? forNewRun(this.record, uid) : { ...this.record, uid };
    await mkdir(join(this.directory, LOG_DIRECTORY), { recursive: true, mode: 0o700 });
    try {
      const ports = await this.network.begin(this.record);
      if (ports !== undefined) this.kept.save({ ports });
      const agent = await this.vm.launch(spans, operation, from ?? warm);
      if (from === undefined) {
        await placeFiles(
          this.directory,
          (spec) => agent.start(this.commands.numbers.take(), spec),
          operation.signal,
        );
      }
      this.kept.transition("running", {
        startedAt: new Date().toISOString(),
        timings: spans.list,
        hasRun: true,
        ...(from !== undefined && { hooksDue: true }),
      });
      if (from !== undefined) await this.vm.goOn(agent, { fresh: true });
      this.vigil.begin(this.record);
      if (this.record.spec.command !== undefined && !held && from === undefined) await this.commands.begin();
    } catch (error) {
      // Let go of first: that it ends now is our doing, and no failure to be told a second time.
      await (this.vm.release() ?? warm?.machine)?.kill();
      await this.letGo();
      const known = cancelled(error, operation.signal) ?? SandboxError.from(error);
      // That its VM has ended may have been told already.
      if (!isOver(this.state)) this.kept.transition("failed", { reason: known.message, timings: spans.list });
      throw known;
    }
  }

  /** Takes over the machine that an earlier daemon started. Of one that stands still the agent is found when it goes on. */
  async adopt(machine: Machine): Promise<void> {
    this.context.uids.claim(this.record.uid);
    const paused = this.state === "paused";
    await this.vm.adopt(machine, paused);
    this.vigil.begin(this.record);
    if (paused) this.vigil.rest();
  }

  async pause(): Promise<void> {
    await this.standstill.pause();
  }

  async resume(): Promise<void> {
    await this.standstill.resume();
  }

  async suspend(): Promise<void> {
    await this.standstill.suspend();
  }

  /** Stores what it is now, running or stopped; it goes on as it was. */
  store(operation: "snapshot" | "fork", options: StateOptions): Promise<StoredState> {
    const { context, kept, standstill, vm } = this;
    return storeSandbox({ context, kept, standstill, vm }, options, operation);
  }

  /** Resolves when nothing reads its disks. */
  stored(): Promise<void> {
    return this.standstill.alone(async () => {});
  }

  /** Takes over one that an earlier daemon has suspended. */
  async adoptSuspended(): Promise<void> {
    await this.network.adopt(this.record);
    this.vigil.begin(this.record);
    this.vigil.rest();
  }

  /** It is about to be used: one that stands still goes on. @throws `invalid_state` if it does not run */
  private async ready(use: string): Promise<AgentConnection> {
    await this.standstill.awake(use);
    // Its VM has just gone.
    if (this.agent === undefined) await this.ending;
    assertLegal("exec", this.name, this.state);
    return this.agent!;
  }

  private async expire({ limit, reason }: Expiry): Promise<void> {
    const { onIdle } = this.record.spec;
    if (limit === "idle-timeout" && onIdle !== "stop") return this.standstill.rest(onIdle, reason);
    await this.stop(DEFAULT_GRACE_MS, reason);
  }

  /** What it has written on top of its image, as the tar of a layer. */
  async changes(signal?: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const agent = await this.ready("what it has written is read");
    const number = this.commands.numbers.take();
    return this.vigil.reading(await readChanges({ agent, number, name: this.name, signal }));
  }

  /** What it uses now. That it is looked at does not keep it from being idle. */
  async metrics(): Promise<SandboxMetrics> {
    assertLegal("measure", this.name, this.state);
    return measure(this.record, this.machine!, this.agent, this.vigil);
  }

  async stop(graceMs = DEFAULT_GRACE_MS, reason?: string): Promise<void> {
    await this.standstill.awake("it is stopped");
    assertLegal("stop", this.name, this.state);
    this.kept.transition("stopping", reason === undefined ? {} : { reason });
    const { machine, agent } = this;
    this.ending ??= (async () => {
      const leftMs = await askToEnd(this.commands.main.process, this.image.stopSignal, graceMs);
      // A guest that does not follow is ended from outside.
      await agent!.shutdown(leftMs).catch(() => {});
      const gone = await within(POWER_OFF_MS, machine!.exited);
      if (gone === undefined) await machine!.kill();
      await this.ended("stopped", reason ?? "stopped");
    })();
    await this.ending;
  }

  async kill(reason = "killed"): Promise<void> {
    // What it has written for its volumes is saved by itself.
    if (volumesOf(this.record.spec.mounts).length > 0) {
      try {
        await this.standstill.awake("it is killed");
      } catch (error) {
        if (isOver(this.state)) return;
        // One that cannot be loaded any more is given up as it is.
        if (this.state !== "suspended") throw error;
      }
    }
    assertLegal("kill", this.name, this.state);
    const { machine } = this;
    // A stop that is under way sees the VM go, and is done.
    if (this.ending !== undefined) await machine?.kill();
    this.ending ??= (async () => {
      await saveVolumes(this.record, this.context.holds, this.machine, this.agent);
      await machine?.kill();
      await this.ended("stopped", reason);
    })();
    await this.ending;
  }

  /** Removes a sandbox that does not run, with its disk and log. */
  async remove(): Promise<void> {
    if (this.state !== "removed") this.kept.transition("removed");
    this.onRemoved();
    await this.commands.processes.close({ gone: true });
    await this.log.close();
    await this.network.dispose();
    this.context.holds.release(this.id);
    await rm(this.directory, { recursive: true, force: true });
    await rm(runDirectoryOf(this.context, this.id), { recursive: true, force: true });
    this.context.table.delete(this.id);
  }

  logs(options: LogOptions = {}): AsyncIterable<LogRecord> {
    return this.log.read(options);
  }

  async console(maxBytes = 64 * 1024): Promise<string> {
    if (this.machine === undefined) return "";
    return (await this.machine.console()).slice(-maxBytes);
  }

  /** Lets go of the VM without ending it. */
  async detach(): Promise<void> {
    this.vm.detach();
    this.vigil.end();
    await Promise.all([this.network.dispose(), this.commands.processes.close(), this.log.close()]);
  }

  /** Ends a sandbox whose work is done: what is to be removed needs no orderly shutdown. */
  private async finish(reason: string): Promise<void> {
    if (this.ending !== undefined) return this.ending;
    if (!this.record.spec.autoRemove) return this.stop(DEFAULT_GRACE_MS, reason);
    this.ending = (async () => {
      this.kept.transition("removed", { reason });
      this.onRemoved();
      await saveVolumes(this.record, this.context.holds, this.machine, this.agent);
      await this.machine!.kill();
      await this.letGo();
      await this.remove();
    })();
    await this.ending;
  }

  private async onMachineExit(exit: MachineExit): Promise<void> {
    if (this.ending !== undefined) return;
    const orderly = exit.cause === "powered-off";
    this.ending = this.ended(orderly ? "stopped" : "failed", exit.message);
    await this.ending;
  }

  /** There is nothing to be done with it but to end its VM, if that is not gone. */
  async fail(reason: string): Promise<void> {
    if (this.ending !== undefined) return this.ending;
    this.ending = (async () => {
      await this.machine?.kill().catch(() => {});
      await this.ended("failed", reason);
    })();
    await this.ending;
  }

  /** The VM is gone. */
  private async ended(state: "stopped" | "failed", reason: string): Promise<void> {
    await this.letGo();
    if (isOver(this.state)) return;
    this.kept.transition(state, {
      reason: this.record.reason ?? reason,
      stoppedAt: new Date().toISOString(),
    });
    if (this.record.spec.autoRemove) await this.remove();
  }

  private async letGo(): Promise<void> {
    this.vm.release();
    this.vm.forget();
    this.vigil.end();
    this.commands.letGo();
    this.context.holds.release(this.id);
    const { ports: _, suspendedIn, wakingOn: __, ...rest } = this.kept.now;
    this.kept.now = rest;
    if (suspendedIn !== undefined) await this.context.states.remove(suspendedIn).catch(() => {});
    await this.network.close();
  }

  /** It is about to be started again. Why its last run ended is no reason of this one's. */
  prepareAgain(): void {
    this.kept.transition("creating", { reason: undefined });
  }
}
