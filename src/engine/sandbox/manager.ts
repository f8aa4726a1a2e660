import { totalmem } from "node:os";
import { join } from "node:path";
import {
  DEFAULT_VOLUME_MIB,
  type ExecSpec,
  SandboxError,
  type SandboxInfo,
  type SandboxMetrics,
  type SandboxSpec,
  shownFiles,
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
import { type Digest, EMPTY_CONFIG, type ImageConfig, isDigest } from "../image/index.ts";
import type { VolumeUse } from "../volume/index.ts";
import type { SandboxContext } from "./context.ts";
import { exportSandbox } from "./export.ts";
import { assertFolders } from "./host-folders.ts";
import { newId, newName } from "./identity.ts";
import { keepFiles } from "./inline-files.ts";
import { assertLegal } from "./lifecycle.ts";
import { volumesOf } from "./mounts.ts";
import { assertCapture, assertNetwork, nextGroupNumber } from "./network.ts";
import { type SandboxRecord, sandboxRecord, volumesOfUnreadable } from "./record.ts";
import { Sandbox } from "./sandbox.ts";
import { sweep } from "./sweep.ts";

/** All sandboxes of a home: makes them, finds them, and takes them over from a daemon that died. */
export class SandboxManager implements Omit<Sandboxes, "suspend" | "fork"> {
  private readonly context: SandboxContext;
  private readonly byId = new Map<string, Sandbox>();
  private readonly byName = new Map<string, Sandbox>();

  constructor(context: SandboxContext) {
    this.context = context;
  }

  /** @param options `temporary`: it ends with this daemon's work; `held`: see `begin`. Default: false */
  async create(
    spec: SandboxSpec,
    operation: OperationContext = {},
    { temporary = false, held = false }: { temporary?: boolean; held?: boolean } = {},
  ): Promise<SandboxInfo> {
    assertMemory(spec.memoryMiB);
    assertNetwork(spec, this.context.folderPolicy);
    const uses = volumesOf(spec.mounts);
    await this.context.holds.settled(uses);
    this.context.holds.assertFree(uses);
    assertFolders(spec.mounts, this.context.folderPolicy);
    const name = this.reserveName(spec.name);
    let sandbox: Sandbox | undefined;
    const made: string[] = [];
    try {
      const image = await this.context.ensureImage(spec.image, spec, operation);
      await this.makeVolumes(uses, made);
      if (this.byName.has(name)) throw taken(name);
      const record: SandboxRecord = {
        id: newId(),
        name,
        spec: {
          ...spec,
          labels: { ...image.config.labels, ...spec.labels },
          files: shownFiles(spec.files),
        },
        imageDigest: image.digest,
        state: "creating",
        createdAt: new Date().toISOString(),
        timings: [],
        hasRun: false,
        reservedProcesses: 0,
        temporary,
        groupNumber: this.newGroupNumber(spec),
      };
      sandbox = this.add(record, image.config);
      this.holdVolumes(sandbox);
      this.context.table.put({ ...record, record });
      this.context.events.add({
        type: "sandbox.creating",
        sandbox: record.id,
        data: { name, image: spec.image },
      });
      await keepFiles(join(this.context.paths.sandboxes, record.id), spec.files);
      await sandbox.start(operation, { held });
      return sandbox.info;
    } catch (error) {
      if (sandbox !== undefined && sandbox.state !== "removed") await sandbox.remove();
      await this.unmakeVolumes(made);
      throw error;
    } finally {
      this.reserved.delete(name);
    }
  }

  get(ref: string): SandboxInfo {
    return this.find(ref).info;
  }

  list(filter: Parameters<Sandboxes["list"]>[0] = {}): SandboxInfo[] {
    const { states, labels } = filter;
    return [...this.byId.values()]
      .map((sandbox) => sandbox.info)
      .filter((info) => states === undefined || states.includes(info.state))
      .filter((info) => Object.entries(labels ?? {}).every(([key, value]) => info.spec.labels[key] === value))
      .sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  }

  async start(ref: string, operation: OperationContext = {}): Promise<SandboxInfo> {
    const sandbox = this.find(ref);
    await this.context.holds.settled(volumesOf(sandbox.info.spec.mounts));
    assertLegal("start", sandbox.name, sandbox.state);
    assertFolders(sandbox.info.spec.mounts, this.context.folderPolicy);
    assertCapture(sandbox.info.spec.network, this.context.folderPolicy);
    this.holdVolumes(sandbox);
    sandbox.prepareAgain();
    await sandbox.start(operation);
    return sandbox.info;
  }

  begin(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.commands.begin());
  }

  pause(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.pause());
  }

  resume(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.resume());
  }

  stop(ref: string, options: { graceMs?: number } = {}): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.stop(options.graceMs));
  }

  kill(ref: string): Promise<SandboxInfo> {
    return this.on(ref, (sandbox) => sandbox.kill());
  }

  async remove(ref: string, options: { force?: boolean } = {}): Promise<void> {
    const sandbox = this.find(ref);
    if (options.force && !["stopped", "failed", "creating"].includes(sandbox.state)) await sandbox.kill();
    // With autoRemove it went with the kill.
    if (sandbox.state === "removed") return;
    assertLegal("remove", sandbox.name, sandbox.state);
    await sandbox.remove();
  }

  exec(ref: string, spec: ExecSpec, context?: ExecContext): Promise<EngineProcess> {
    return this.find(ref).commands.exec(spec, context);
  }

  files(ref: string): SandboxFiles {
    return this.find(ref).files;
  }

  commandOf(ref: string, argv?: string[]): string[] {
    return this.find(ref).commands.argvOf(argv);
  }

  metrics(ref: string): Promise<SandboxMetrics> {
    return this.find(ref).metrics();
  }

  async allMetrics(): Promise<SandboxMetrics[]> {
    const running = this.list({ states: ["running"] });
    // One that stops meanwhile is left out.
    const all = await Promise.all(running.map(({ id }) => this.metrics(id).catch(() => undefined)));
    return all.filter((metrics) => metrics !== undefined);
  }

  network(ref: string): SandboxNetworkControl {
    return this.find(ref).network;
  }

  processes(ref: string): SandboxProcesses {
    return this.find(ref).commands.processes;
  }

  logs(ref: string, options?: LogOptions) {
    return this.find(ref).logs(options);
  }

  /**
   * What a running sandbox has written on top of its image, as the tar of a layer.
   * @throws `invalid_state` if it does not run; while it streams, `internal` with what the guest said
   */
  changes(ref: string, options: { signal?: AbortSignal | undefined } = {}): Promise<AsyncIterable<Buffer>> {
    return this.find(ref).changes(options.signal);
  }

  export(ref: string, { signal }: { signal?: AbortSignal } = {}): Promise<ByteStream> {
    const sandbox = this.find(ref);
    return exportSandbox(this.context.images, sandbox, signal);
  }

  console(ref: string, maxBytes?: number): Promise<string> {
    return this.find(ref).console(maxBytes);
  }

  runningCount(): number {
    return [...this.byId.values()].filter(({ state }) => state !== "stopped" && state !== "failed").length;
  }

  /** Sandboxes that have the volume among their mounts, and those that are just being removed while their VM ends. */
  volumeUsers(volume: string): VolumeUser[] {
    return [...this.byId.values()].flatMap(({ info: { id, name, state, spec } }) =>
      volumesOf(spec.mounts)
        .filter((mount) => mount.name === volume)
        .map(({ readOnly }) => ({ id, name, state, readOnly })),
    );
  }

  /** Digests of the images that sandboxes stand on. */
  imagesInUse(): Digest[] {
    return [...this.byId.values()].map((sandbox) => sandbox.imageDigest).filter(isDigest);
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
    for (const { id, temporary } of [...this.byId.values()]) {
      if (!temporary) continue;
      await this.remove(id, { force: true }).catch((error) => {
        this.context.events.add({
          type: "sandbox.not-removed",
          sandbox: id,
          message: SandboxError.from(error).message,
        });
      });
    }
    const live = [...this.byId.values()].filter(({ state }) => state !== "stopped" && state !== "failed");
    await sweep(this.context.paths, {
      known: rows.map(({ id }) => id),
      // A later version may be able to read what we cannot: their VMs are left alone.
      running: [...live.map(({ id }) => id), ...unreadable],
    });
  }

  async detach(): Promise<void> {
    await Promise.all([...this.byId.values()].map((sandbox) => sandbox.detach()));
  }

  private async on(ref: string, act: (sandbox: Sandbox) => Promise<void>): Promise<SandboxInfo> {
    const sandbox = this.find(ref);
    await act(sandbox);
    return sandbox.info;
  }

  private async adoptOne(record: SandboxRecord): Promise<void> {
    const image = await this.context.images.get(record.imageDigest).catch(() => undefined);
    const sandbox = this.add(record, image?.config ?? EMPTY_CONFIG);
    if (record.state === "stopped" || record.state === "failed") return;
    this.context.holds.claim(record, volumesOf(record.spec.mounts));
    const { vmm } = await this.context.machines();
    const machine = record.machine === undefined ? undefined : await vmm.adopt(record.machine);
    if ((record.state === "running" || record.state === "paused") && machine !== undefined) {
      try {
        return await sandbox.adopt(machine);
      } catch (error) {
        // It runs but cannot be spoken to; a VM that nobody controls is ended.
        await machine.kill();
        await sandbox.lost(
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
    await sandbox.lost(starting ? "the daemon ended while it started" : "its VM ended while no daemon ran");
  }

  /** They are held until its VM is gone. @throws `invalid_state` if another sandbox stands in the way */
  private holdVolumes({ info }: Sandbox): void {
    this.context.holds.hold(info, volumesOf(info.spec.mounts));
  }

  /** Makes the volumes that there are not, with the default size, and notes them in `made`. */
  private async makeVolumes(uses: readonly VolumeUse[], made: string[]): Promise<void> {
    for (const { name } of uses) {
      if (await this.context.volumes.exists(name)) continue;
      try {
        await this.context.volumes.create(name, DEFAULT_VOLUME_MIB);
        made.push(name);
        this.context.events.add({ type: "volume.created", message: name });
      } catch (error) {
        // Another create wanted it too, and was faster.
        if (SandboxError.from(error).code !== "already_exists") throw error;
      }
    }
  }

  /** A create that failed leaves no volumes, unless somebody has begun to use them meanwhile. */
  private async unmakeVolumes(made: readonly string[]): Promise<void> {
    for (const name of made) {
      if (this.volumeUsers(name).length > 0 || this.context.holds.holdersOf(name).length > 0) continue;
      await this.context.volumes.remove(name);
      this.context.events.add({ type: "volume.removed", message: name });
    }
  }

  private readonly reserved = new Set<string>();

  /** Two creates of the same name at the same moment: one gets it. */
  private reserveName(asked: string | undefined): string {
    let name = asked ?? newName();
    while (asked === undefined && (this.byName.has(name) || this.reserved.has(name))) name = newName();
    if (this.byName.has(name) || this.reserved.has(name)) throw taken(name);
    this.reserved.add(name);
    return name;
  }

  private newGroupNumber({ network: { group } }: SandboxSpec): number | undefined {
    if (group === undefined) return undefined;
    const taken = [...this.byId.values()].map(({ network }) => network.membership);
    return nextGroupNumber(group, taken);
  }

  private add(record: SandboxRecord, image: ImageConfig): Sandbox {
    const sandbox = new Sandbox(this.context, record, image, () => {
      this.byId.delete(record.id);
      if (this.byName.get(record.name) === sandbox) this.byName.delete(record.name);
    });
    this.byId.set(record.id, sandbox);
    this.byName.set(record.name, sandbox);
    return sandbox;
  }

  private find(ref: string): Sandbox {
    const sandbox = this.byName.get(ref) ?? this.byId.get(ref);
    if (sandbox !== undefined) return sandbox;
    throw new SandboxError("not_found", `there is no sandbox '${ref}'`, {
      hint: "'msb ls' lists those that there are.",
    });
  }
}

function taken(name: string): SandboxError {
  return new SandboxError("already_exists", `there is a sandbox '${name}' already`, {
    hint: `Choose another name, or remove it: msb rm --force ${name}`,
  });
}

/** @throws `resource_exhausted` if the host has less memory than the sandbox asks for */
function assertMemory(memoryMiB: number): void {
  const hostMiB = Math.floor(totalmem() / 1024 ** 2);
  if (memoryMiB <= hostMiB) return;
  throw new SandboxError(
    "resource_exhausted",
    `the sandbox asks for ${memoryMiB} MiB of memory, this host has ${hostMiB} MiB`,
    {
      hint: "Ask for less.",
      details: { askedMiB: memoryMiB, hostMiB },
    },
  );
}
