import {
  type ExecSpec,
  type ForkRequest,
  SandboxError,
  type SandboxInfo,
  type SandboxMetrics,
  type SandboxSpec,
  type SnapshotRequest,
  type VolumeUser,
} from "../../contract/index.ts";
import type {
  ByteStream,
  EngineProcess,
  ExecContext,
  LogOptions,
  OperationContext,
  Sandboxes,
  SandboxFiles,
  SandboxNetworkControl,
  SandboxProcesses,
} from "../engine.ts";
import { type Digest, EMPTY_CONFIG, isDigest, type StoredImage } from "../image/index.ts";
import type { StoredState } from "../state/index.ts";
import type { SandboxContext } from "./context.ts";
import { createSandbox, type WarmVms } from "./create.ts";
import { exportSandbox } from "./export.ts";
import { assertFolders } from "./host-folders.ts";
import { type Family, type Inheritance, inheritState } from "./inherit.ts";
import { assertLegal } from "./lifecycle.ts";
import { volumesOf } from "./mounts.ts";
import { assertCapture } from "./network.ts";
import { type SandboxRecord, sandboxRecord, volumesOfUnreadable } from "./record.ts";
import { SandboxRegistry } from "./registry.ts";
import type { Sandbox } from "./sandbox.ts";
import type { SnapshotMaker } from "./snapshots.ts";
import { imageOf } from "./stored-sandbox.ts";
import { sweep } from "./sweep.ts";
import { type WarmShape, type WarmVm, warmUp } from "./warm-vm.ts";

/** All sandboxes of a home: makes them, finds them, and takes them over from a daemon that died. */
export class SandboxManager implements Sandboxes, SnapshotMaker {
  private readonly context: SandboxContext;
  private readonly registry: SandboxRegistry;
  private warm: WarmVms | undefined;

  constructor(context: SandboxContext) {
    this.context = context;
    this.registry = new SandboxRegistry(context);
  }

  /** From now on sandboxes are made of these where they can be. */
  claimFrom(warm: WarmVms): void {
    this.warm = warm;
  }

  /** Makes a VM that waits to be claimed. @throws what failed, `cancelled` by the signal; nothing is left then */
  warmUp(image: StoredImage, shape: WarmShape, signal: AbortSignal): Promise<WarmVm> {
    return warmUp(this.context, this.registry, image, shape, signal);
  }

  /** @param options `temporary`: it ends with this daemon's work; `held`: see `begin`. Default: false */
  async create(
    spec: SandboxSpec,
    operation: OperationContext = {},
    { temporary = false, held = false }: { temporary?: boolean; held?: boolean } = {},
  ): Promise<SandboxInfo> {
    return this.working(() => createSandbox(this.family, spec, operation, { temporary, held }));
  }

  get(ref: string): SandboxInfo {
    return this.registry.find(ref).info;
  }

  list(filter?: Parameters<Sandboxes["list"]>[0]): SandboxInfo[] {
    return this.registry.list(filter);
  }

  async start(ref: string, operation: OperationContext = {}): Promise<SandboxInfo> {
    const sandbox = this.registry.find(ref);
    await this.context.holds.settled(volumesOf(sandbox.info.spec.mounts));
    await sandbox.stored();
    assertLegal("start", sandbox.name, sandbox.state);
    assertFolders(sandbox.info.spec.mounts, this.context.folderPolicy);
    assertCapture(sandbox.info.spec.network, this.context.folderPolicy);
    this.holdVolumes(sandbox);
    sandbox.prepareAgain();
    await this.working(() => sandbox.start(operation));
    return sandbox.info;
  }

  begin(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.commands.begin());
  }

  pause(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.pause());
  }

  suspend(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.suspend());
  }

  resume(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.resume());
  }

  async fork(
    ref: string,
    { volumes, ...request }: ForkRequest,
    operation: OperationContext = {},
  ): Promise<SandboxInfo[]> {
    const { signal } = operation;
    const options = { volumes, now: true, finish: { durable: false, signal } };
    const stored = await this.registry.find(ref).store("fork", options);
    try {
      return await this.inherit(stored, { ...request, parentRuns: true }, operation);
    } finally {
      await this.context.states.remove(stored.id);
    }
  }

  store(
    ref: string,
    { volumes, prepared, replaces }: SnapshotRequest,
    name: string,
    { signal }: OperationContext,
  ): Promise<StoredState> {
    const options = { name, volumes, prepared, now: false, finish: { durable: true, replaces, signal } };
    return this.registry.find(ref).store("snapshot", options);
  }

  nameOf(ref: string): string {
    return this.registry.find(ref).name;
  }

  inherit(stored: StoredState, request: Inheritance, operation: OperationContext): Promise<SandboxInfo[]> {
    return this.working(() => inheritState(this.family, stored, request, operation));
  }

  stop(ref: string, options: { graceMs?: number } = {}): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.stop(options.graceMs));
  }

  kill(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.kill());
  }

  async remove(ref: string, options: { force?: boolean } = {}): Promise<void> {
    const sandbox = this.registry.find(ref);
    if (options.force && !["stopped", "failed", "creating"].includes(sandbox.state)) await sandbox.kill();
    // With autoRemove it went with the kill.
    if (sandbox.state === "removed") return;
    assertLegal("remove", sandbox.name, sandbox.state);
    await sandbox.remove();
  }

  exec(ref: string, spec: ExecSpec, context?: ExecContext): Promise<EngineProcess> {
    return this.registry.find(ref).commands.exec(spec, context);
  }

  files(ref: string): SandboxFiles {
    return this.registry.find(ref).files;
  }

  commandOf(ref: string, argv?: string[]): string[] {
    return this.registry.find(ref).commands.argvOf(argv);
  }

  metrics(ref: string): Promise<SandboxMetrics> {
    return this.registry.find(ref).metrics();
  }

  async allMetrics(): Promise<SandboxMetrics[]> {
    const running = this.list({ states: ["running"] });
    // One that stops meanwhile is left out.
    const all = await Promise.all(running.map(({ id }) => this.metrics(id).catch(() => undefined)));
    return all.filter((metrics) => metrics !== undefined);
  }

  network(ref: string): SandboxNetworkControl {
    return this.registry.find(ref).network;
  }

  processes(ref: string): SandboxProcesses {
    return this.registry.find(ref).commands.processes;
  }

  logs(ref: string, options?: LogOptions) {
    return this.registry.find(ref).logs(options);
  }

  /**
   * What a running sandbox has written on top of its image, as the tar of a layer.
   * @throws `invalid_state` if it does not run; while it streams, `internal` with what the guest said
   */
  changes(ref: string, options: { signal?: AbortSignal | undefined } = {}): Promise<AsyncIterable<Buffer>> {
    return this.registry.find(ref).changes(options.signal);
  }

  export(ref: string, { signal }: { signal?: AbortSignal } = {}): Promise<ByteStream> {
    const sandbox = this.registry.find(ref);
    return exportSandbox(this.context.images, sandbox, signal);
  }

  console(ref: string, maxBytes?: number): Promise<string> {
    return this.registry.find(ref).console(maxBytes);
  }

  runningCount(): number {
    return this.registry.all.filter(({ needsDaemon }) => needsDaemon).length;
  }

  volumeUsers(volume: string): VolumeUser[] {
    return this.registry.volumeUsers(volume);
  }

  /** Digests of the images that sandboxes stand on, those of stored states too. */
  async imagesInUse(): Promise<Digest[]> {
    const states = await this.context.states.list();
    const stored = states.map(({ manifest }) => imageOf(manifest.record)).filter(isDigest);
    return [...this.registry.imagesInUse(), ...stored];
  }

  /** Ids of the states that sandboxes are suspended in, by what is written down. */
  statesInUse(): Set<string> {
    const states = this.context.table
      .list()
      .map(({ record }) => (record as { suspendedIn?: unknown }).suspendedIn);
    return new Set(states.filter((id) => typeof id === "string"));
  }

  /**
   * Takes over what an earlier daemon left: what runs goes on, what was half-made is removed, what has ended
   * meanwhile is told so. Folders that no record knows are swept.
   */
  async adopt(): Promise<void> {
    const rows = this.context.table.list();
    const unreadable: string[] = [];
    await Promise.all(
      rows.map(async (row) => {
        const parsed = sandboxRecord.safeParse(row.record);
        if (!parsed.success) {
          this.context.holds.claim(row, volumesOfUnreadable(row.record));
          unreadable.push(row.id);
          this.context.events.add({
            type: "sandbox.unreadable",
            sandbox: row.id,
            message: `the record of '${row.name}' cannot be read`,
          });
          return;
        }
        await this.adoptOne(parsed.data).catch((error) => {
          this.context.events.add({
            type: "sandbox.not-adopted",
            sandbox: row.id,
            message: SandboxError.from(error).message,
          });
        });
      }),
    );
    for (const { id, temporary } of this.registry.all) {
      if (!temporary) continue;
      await this.remove(id, { force: true }).catch((error) => {
        this.context.events.add({
          type: "sandbox.not-removed",
          sandbox: id,
          message: SandboxError.from(error).message,
        });
      });
    }
    const live = this.registry.all.filter(({ state }) => state !== "stopped" && state !== "failed");
    await sweep(this.context.paths, {
      known: rows.map(({ id }) => id),
      // A later version may be able to read what we cannot: their VMs are left alone.
      running: [...live.map(({ id }) => id), ...unreadable],
    });
  }

  async detach(): Promise<void> {
    await Promise.all(this.registry.all.map((sandbox) => sandbox.detach()));
  }

  private get family(): Family {
    const { context, registry, warm } = this;
    return { context, registry, warm, hold: (sandbox) => this.holdVolumes(sandbox) };
  }

  /** Somebody waits for this: nothing is done meanwhile that nobody waits for. */
  private async working<T>(work: () => Promise<T>): Promise<T> {
    const done = this.warm?.busy();
    try {
      return await work();
    } finally {
      done?.();
    }
  }

  private async on(ref: string, act: (sandbox: Sandbox) => Promise<void>): Promise<SandboxInfo> {
    const sandbox = this.registry.find(ref);
    await act(sandbox);
    return sandbox.info;
  }

  private async adoptOne(record: SandboxRecord): Promise<void> {
    const image = await this.context.images.get(record.imageDigest).catch(() => undefined);
    const sandbox = this.registry.add(record, image?.config ?? EMPTY_CONFIG);
    if (record.state === "stopped" || record.state === "failed") return;
    this.context.holds.claim(record, volumesOf(record.spec.mounts));
    const { vmm } = await this.context.machines();
    const machine = record.machine === undefined ? undefined : await vmm.adopt(record.machine);
    if (record.state === "suspended") {
      // Its processes had not gone on.
      await machine?.kill();
      return sandbox.adoptSuspended();
    }
    if ((record.state === "running" || record.state === "paused") && machine !== undefined) {
      try {
        return await sandbox.adopt(machine);
      } catch (error) {
        // It runs but cannot be spoken to; a VM that nobody controls is ended.
        await machine.kill();
        await sandbox.fail(
          `the daemon restarted and could not reach it: ${SandboxError.from(error).message}`,
        );
        return;
      }
    }
    await machine?.kill();
    // Never made, or half-removed: nothing is left of it. One that ran before and was just being started again keeps its disk.
    if (record.state === "removed" || (record.state === "creating" && !record.hasRun))
      return sandbox.remove();
    const starting = record.state === "creating";
    await sandbox.fail(starting ? "the daemon ended while it started" : "its VM ended while no daemon ran");
  }

  /** They are held until its VM is gone. @throws `invalid_state` if another sandbox stands in the way */
  private holdVolumes({ info }: Sandbox): void {
    this.context.holds.hold(info, volumesOf(info.spec.mounts));
  }
}
