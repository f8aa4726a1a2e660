import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type ExecSpec,
  type FolderMount,
  type LogRecord,
  SandboxError,
  type SandboxInfo,
  type SandboxMetrics,
  type SandboxState,
} from "../../contract/index.ts";
import type { EngineProcess, ExecContext, LogOptions, OperationContext } from "../engine.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { ImageConfig } from "../image/index.ts";
import type { Machine, MachineExit } from "../machine/index.ts";
import { adoptProcesses } from "./adopt-processes.ts";
import { AgentLink } from "./agent-link.ts";
import { askToEnd } from "./ask-to-end.ts";
import { readChanges } from "./changes.ts";
import { combineCommand, processSpec } from "./command.ts";
import type { SandboxContext } from "./context.ts";
import { GuestFiles } from "./files/index.ts";
import { HostFolders } from "./host-folders.ts";
import { placeFiles } from "./inline-files.ts";
import { assertLegal, assertTransition } from "./lifecycle.ts";
import { SandboxLog } from "./log.ts";
import { assertHeld, MainProcess } from "./main-process.ts";
import { measure } from "./metrics.ts";
import { NetworkLink } from "./network-link.ts";
import { SandboxProcess } from "./process.ts";
import { ProcessNumbers } from "./process-numbers.ts";
import { Processes } from "./processes.ts";
import { forNewRun, type SandboxRecord, toInfo } from "./record.ts";
import { saveVolumes } from "./save-volumes.ts";
import { Spans } from "./spans.ts";
import { cancelled, LOG_DIRECTORY, runDirectoryOf, startMachine } from "./start.ts";
import { Vigil } from "./vigil.ts";
import { within } from "./within.ts";

const DEFAULT_GRACE_MS = 5_000;
/** How long a guest may take to power off beyond its grace (spec: 1,500 ms). */
const POWER_OFF_MS = 5_000;

/** One sandbox: its record, and while it runs its machine, its agent and its processes. */
export class Sandbox {
  readonly log: SandboxLog;
  readonly files: GuestFiles;
  readonly processes: Processes;
  readonly network: NetworkLink;
  private readonly context: SandboxContext;
  private readonly image: ImageConfig;
  private readonly folders: HostFolders;
  private readonly onRemoved: () => void;
  private readonly vigil: Vigil;
  private readonly link: AgentLink;
  private readonly numbers: ProcessNumbers;
  private record: SandboxRecord;
  private machine: Machine | undefined;
  private readonly main = new MainProcess(async (exitCode) => {
    if (this.state !== "running") return;
    this.save({ exitCode });
    await this.finish(`its command ended with exit code ${exitCode}`);
  });
  /** Settles when a stop or an unexpected end has been dealt with. */
  private ending: Promise<void> | undefined;

  constructor(context: SandboxContext, record: SandboxRecord, image: ImageConfig, onRemoved: () => void) {
    this.context = context;
    this.record = record;
    this.image = image;
    this.onRemoved = onRemoved;
    this.folders = new HostFolders(this.directory, context.folderPolicy);
    this.numbers = new ProcessNumbers(record.reservedProcesses, (reservedProcesses) =>
      this.save({ reservedProcesses }),
    );
    this.log = new SandboxLog(join(this.directory, LOG_DIRECTORY));
    this.network = new NetworkLink(context, record, this.log.directory, (network) =>
      this.save({ spec: { ...this.record.spec, network } }),
    );
    this.vigil = new Vigil(context, record, this.log, {
      expired: ({ reason }) => void this.stop(DEFAULT_GRACE_MS, reason).catch(() => {}),
      save: (changes) => this.save(changes),
    });
    this.link = new AgentLink({
      vigil: this.vigil,
      wanted: () => this.ending === undefined,
      onAgain: async (agent, reason) => {
        this.context.events.add({ type: "sandbox.reconnected", sandbox: this.id, message: reason });
        await this.adoptProcesses(agent);
      },
      onLost: (reason) => void this.fail(`the guest's agent was lost: ${reason}`),
    });
    this.files = new GuestFiles(record.name, this.vigil, async (spec) => {
      assertLegal("exec", this.name, this.state);
      return this.agent!.start(this.numbers.take(), spec);
    });
    this.processes = new Processes({
      name: record.name,
      directory: this.directory,
      log: this.log,
      launch: (spec, context) => this.launch(spec, { ...context, background: true }),
      busy: () => this.vigil.busy(),
    });
  }

  get id(): string {
    return this.record.id;
  }

  get name(): string {
    return this.record.name;
  }

  get state(): SandboxState {
    return this.record.state;
  }

  get imageDigest(): string {
    return this.record.imageDigest;
  }

  get temporary(): boolean {
    return this.record.temporary;
  }

  get info(): SandboxInfo {
    return toInfo(this.record, this.vigil.health);
  }

  private get agent(): AgentConnection | undefined {
    return this.link.agent;
  }

  private get directory(): string {
    return join(this.context.paths.sandboxes, this.record.id);
  }

  /**
   * Starts the VM and, if there is one, the main process. After an error the sandbox is `failed` and no VM is left.
   *
   * @param options `held`: the main process waits for `begin`. Default: false
   */
  async start(operation: OperationContext, { held = false } = {}): Promise<void> {
    const spans = new Spans();
    const uid = this.context.uids.acquire();
    this.record = forNewRun(this.record, uid);
    this.folders.begin();
    await mkdir(join(this.directory, LOG_DIRECTORY), { recursive: true, mode: 0o700 });
    try {
      const ports = await this.network.begin(this.record);
      if (ports !== undefined) this.save({ ports });
      const onMachine = (machine: Machine) => this.save({ machine: machine.record });
      const mountFolder = (guest: AgentConnection, mount: FolderMount) =>
        this.mountFolder(guest, mount, operation.signal);
      const hears = { ...this.vigil.hears, onMachine, mountFolder };
      const { machine, agent } = await startMachine(this.context, this.record, spans, operation, hears);
      this.attach(machine);
      this.link.keep(machine, agent);
      await spans.time("network", () => this.network.connected());
      await placeFiles(this.directory, (spec) => agent.start(this.numbers.take(), spec), operation.signal);
      this.transition("running", { startedAt: new Date().toISOString(), timings: spans.list, hasRun: true });
      this.vigil.begin(this.record);
      if (this.record.spec.command !== undefined && !held) await this.begin();
    } catch (error) {
      // Let go of first: that it ends now is our doing, and no failure to be told a second time.
      const { machine } = this;
      this.machine = undefined;
      await machine?.kill();
      await this.letGo();
      const known = cancelled(error, operation.signal) ?? SandboxError.from(error);
      if (this.record.state !== "removed")
        this.transition("failed", { reason: known.message, timings: spans.list });
      throw known;
    }
  }

  /** Starts its command. @throws `invalid_state` if it has none, or it has begun */
  async begin(): Promise<void> {
    assertHeld(this.record);
    const argv = combineCommand(this.record.spec, this.image);
    const main = await this.exec({ argv, env: {} }, { main: true });
    main.detach();
  }

  private mountFolder(agent: AgentConnection, mount: FolderMount, signal?: AbortSignal): Promise<void> {
    const channel = this.numbers.take();
    this.save({ folders: [...(this.record.folders ?? []), { channel, target: mount.target }] });
    return this.folders.mount(agent, channel, mount, signal);
  }

  /** Takes over the machine that an earlier daemon started. */
  async adopt(machine: Machine): Promise<void> {
    this.context.uids.claim(this.record.uid);
    const agent = await this.link.reach(machine);
    await this.network.adopt(this.record);
    this.attach(machine);
    await this.adoptProcesses(agent);
    this.vigil.begin(this.record);
  }

  exec(spec: ExecSpec, context: ExecContext = {}): Promise<EngineProcess> {
    return this.launch(spec, { ...context, stdin: true, background: false });
  }

  private async launch(
    spec: ExecSpec,
    { main = false, signal, stdin, background }: ExecContext & { stdin: boolean; background: boolean },
  ): Promise<SandboxProcess> {
    assertLegal("exec", this.name, this.state);
    const number = this.numbers.take();
    if (main) this.save({ mainProcess: number });
    const process = await this.processes.begin({ number, spec, main, background }, async (options) => {
      const asked = processSpec(this.record.spec, this.image, spec, stdin);
      const guest = await this.agent!.start(number, asked, { signal });
      return new SandboxProcess(guest, this.log, options);
    });
    if (main) this.main.follow(process);
    return process;
  }

  /** What it has written on top of its image, as the tar of a layer. */
  async changes(signal?: AbortSignal): Promise<AsyncIterable<Buffer>> {
    assertLegal("exec", this.name, this.state);
    const number = this.numbers.take();
    return this.vigil.reading(await readChanges({ agent: this.agent!, number, name: this.name, signal }));
  }

  /** What it uses now. That it is looked at does not keep it from being idle. */
  async metrics(): Promise<SandboxMetrics> {
    assertLegal("measure", this.name, this.state);
    return measure(this.record, this.machine!, this.agent!, this.vigil);
  }

  commandOf(argv?: string[]): string[] {
    return combineCommand(this.record.spec, this.image, argv);
  }

  async stop(graceMs = DEFAULT_GRACE_MS, reason?: string): Promise<void> {
    assertLegal("stop", this.name, this.state);
    this.transition("stopping", reason === undefined ? {} : { reason });
    const { machine, agent } = this;
    this.ending ??= (async () => {
      const leftMs = await askToEnd(this.main.process, this.image.stopSignal, graceMs);
      // A guest that does not follow is ended from outside.
      await agent!.shutdown(leftMs).catch(() => {});
      const gone = await within(POWER_OFF_MS, machine!.exited);
      if (gone === undefined) await machine!.kill();
      await this.ended("stopped", reason ?? "stopped");
    })();
    await this.ending;
  }

  async kill(reason = "killed"): Promise<void> {
    assertLegal("kill", this.name, this.state);
    const { machine } = this;
    // A stop that is under way sees the VM go, and is done.
    if (this.ending !== undefined) await machine?.kill();
    this.ending ??= (async () => {
      await saveVolumes(this.record, this.context.holds, this.machine, this.agent);
      await machine!.kill();
      await this.ended("stopped", reason);
    })();
    await this.ending;
  }

  /** Removes a sandbox that does not run, with its disk and log. */
  async remove(): Promise<void> {
    if (this.state !== "removed") {
      this.transition("removed");
      this.onRemoved();
    }
    await this.processes.close({ gone: true });
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
    this.link.close();
    this.folders.close();
    this.vigil.end();
    this.machine?.detach();
    await Promise.all([this.network.dispose(), this.processes.close(), this.log.close()]);
  }

  /** Its VM is gone, and nobody saw it go. */
  async lost(reason: string): Promise<void> {
    await this.ended("failed", reason);
  }

  private attach(machine: Machine): void {
    this.machine = machine;
    this.ending = undefined;
    this.network.connect(machine);
    void machine.exited.then((exit) => this.onMachineExit(machine, exit));
  }

  private async adoptProcesses(agent: AgentConnection): Promise<void> {
    const { folders = [], spec } = this.record;
    const served = this.folders.adopt(agent, folders, spec.mounts);
    for (const process of await adoptProcesses(agent, this.log, this.processes, served)) {
      if (process.process === this.record.mainProcess) this.main.follow(process);
    }
    this.noteMainIsGone(agent);
  }

  /** The main process had ended and was released just before the daemon died. */
  private noteMainIsGone(agent: AgentConnection): void {
    const { mainProcess } = this.record;
    if (mainProcess === undefined || agent.info.processes.some((p) => p.channel === mainProcess)) return;
    void this.finish("its command had ended").catch(() => {});
  }

  /** Ends a sandbox whose work is done: what is to be removed needs no orderly shutdown. */
  private async finish(reason: string): Promise<void> {
    if (this.ending !== undefined) return this.ending;
    if (!this.record.spec.autoRemove) return this.stop(DEFAULT_GRACE_MS, reason);
    this.ending = (async () => {
      this.transition("removed", { reason });
      this.onRemoved();
      await saveVolumes(this.record, this.context.holds, this.machine, this.agent);
      await this.machine!.kill();
      await this.letGo();
      await this.remove();
    })();
    await this.ending;
  }

  private async onMachineExit(machine: Machine, exit: MachineExit): Promise<void> {
    if (this.machine !== machine || this.ending !== undefined) return;
    const orderly = exit.cause === "powered-off";
    this.ending = this.ended(orderly ? "stopped" : "failed", exit.message);
    await this.ending;
  }

  private async fail(reason: string): Promise<void> {
    if (this.ending !== undefined) return;
    this.ending = (async () => {
      await this.machine?.kill().catch(() => {});
      await this.ended("failed", reason);
    })();
    await this.ending;
  }

  /** The VM is gone. */
  private async ended(state: "stopped" | "failed", reason: string): Promise<void> {
    await this.letGo();
    this.transition(state, { reason: this.record.reason ?? reason, stoppedAt: new Date().toISOString() });
    if (this.record.spec.autoRemove) await this.remove();
  }

  private async letGo(): Promise<void> {
    this.link.close();
    this.folders.close();
    this.vigil.end();
    this.processes.onlyTheseRun(new Set());
    this.main.letGo();
    this.machine = undefined;
    this.context.uids.release(this.record.uid);
    this.context.holds.release(this.id);
    const { machine: _machine, uid: _uid, ports: _ports, ...rest } = this.record;
    this.record = rest;
    await this.network.close();
    await rm(runDirectoryOf(this.context, this.id), { recursive: true, force: true });
  }

  /** Written before it is acted on. */
  transition(state: SandboxState, changes: Partial<SandboxRecord> = {}): void {
    assertTransition(this.name, this.state, state);
    this.save({ ...changes, state });
    if (state === "stopping") this.context.holds.ending(this.id);
    this.context.events.add({
      type: `sandbox.${state}`,
      sandbox: this.id,
      message: this.record.reason,
      data: { name: this.name },
    });
  }

  private save(changes: Partial<SandboxRecord>): void {
    this.record = { ...this.record, ...changes };
    const { id, name, state, createdAt } = this.record;
    this.context.table.put({ id, name, state, createdAt, record: this.record });
  }
}
