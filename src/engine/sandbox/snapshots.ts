import type { Readable } from "node:stream";
import {
  type RestoreRequest,
  SandboxError,
  type SandboxInfo,
  type SnapshotInfo,
  type SnapshotRequest,
} from "../../contract/index.ts";
import type { ByteStream, OperationContext, Snapshots } from "../engine.ts";
import type { StoredState } from "../state/index.ts";
import { admitImported } from "./admit-imported.ts";
import type { SandboxContext } from "./context.ts";
import { volumesOf } from "./mounts.ts";
import { readStoredSandbox } from "./stored-sandbox.ts";

/** The states that users have stored, which have names; those of forks and of suspended sandboxes have none, and are nobody's business. */

export interface SnapshotMaker {
  /** @throws what keeps the sandbox from being stored */
  store(
    sandbox: string,
    request: SnapshotRequest,
    name: string,
    operation: OperationContext,
  ): Promise<StoredState>;
  nameOf(sandbox: string): string;
  inherit(stored: StoredState, request: RestoreRequest, operation: OperationContext): Promise<SandboxInfo[]>;
}

export class SnapshotService implements Snapshots {
  readonly #context: Pick<SandboxContext, "states" | "events">;
  readonly #sandboxes: SnapshotMaker;

  constructor(context: Pick<SandboxContext, "states" | "events">, sandboxes: SnapshotMaker) {
    this.#context = context;
    this.#sandboxes = sandboxes;
  }

  async create(
    sandbox: string,
    request: SnapshotRequest,
    operation: OperationContext = {},
  ): Promise<SnapshotInfo> {
    const name = request.name ?? (await this.#freeName(this.#sandboxes.nameOf(sandbox)));
    const { replaces } = request;
    const old = replaces === undefined ? undefined : await this.#get(replaces).catch(() => undefined);
    const stored = await this.#sandboxes.store(sandbox, request, name, operation);
    this.#tell("created", stored);
    if (old?.manifest.name === name) this.#tell("removed", old);
    return toSnapshotInfo(stored);
  }

  async list(): Promise<SnapshotInfo[]> {
    const states = await this.#context.states.list();
    return states
      .filter(({ manifest }) => manifest.name !== undefined)
      .reverse()
      .flatMap((state) => readable(state) ?? []);
  }

  async get(ref: string): Promise<SnapshotInfo> {
    return toSnapshotInfo(await this.#get(ref));
  }

  async remove(ref: string): Promise<void> {
    const stored = await this.#get(ref).catch((error: unknown) => {
      // What is damaged can be removed all the same.
      if (SandboxError.from(error).code !== "internal") throw error;
    });
    await this.#context.states.remove(ref);
    if (stored !== undefined) this.#tell("removed", stored);
  }

  async verify(ref: string, { signal }: OperationContext = {}): Promise<SnapshotInfo> {
    const stored = await this.#get(ref);
    await this.#context.states.verify(stored, { signal });
    return toSnapshotInfo(stored);
  }

  async restore(
    ref: string,
    request: RestoreRequest,
    operation: OperationContext = {},
  ): Promise<SandboxInfo[]> {
    return this.#sandboxes.inherit(await this.#get(ref), request, operation);
  }

  async export(
    ref: string,
    options: { passphrase?: string; signal?: AbortSignal } = {},
  ): Promise<ByteStream> {
    return this.#context.states.export(await this.#get(ref), options);
  }

  async import(
    file: Readable,
    options: OperationContext & { name?: string; passphrase?: string } = {},
  ): Promise<SnapshotInfo> {
    const { onProgress, ...rest } = options;
    const stored = await this.#context.states.import(file, {
      ...rest,
      admit: admitImported,
      onProgress: (bytes) =>
        onProgress?.({ task: `importing a snapshot: ${Math.floor(bytes / 2 ** 20)} MiB` }),
    });
    this.#tell("imported", stored);
    return toSnapshotInfo(stored);
  }

  /** What a fork or a suspended sandbox uses is not found: it is a sandbox's, whose memory would go with it. */
  async #get(ref: string): Promise<StoredState> {
    const stored = await this.#context.states.get(ref);
    if (stored.manifest.name !== undefined) return stored;
    throw new SandboxError("not_found", `there is no snapshot '${ref}'`, {
      hint: "'msb snapshot ls' lists those that there are.",
    });
  }

  async #freeName(sandbox: string): Promise<string> {
    const taken = new Set((await this.#context.states.list()).map(({ manifest }) => manifest.name));
    for (let number = 1; ; number++) {
      const name = `${sandbox.slice(0, 56)}-${number}`;
      if (!taken.has(name)) return name;
    }
  }

  #tell(what: string, { id, manifest }: StoredState): void {
    this.#context.events.add({ type: `snapshot.${what}`, message: manifest.name, data: { id } });
  }
}

/** Undefined for one that a newer version has stored. */
function readable(state: StoredState): SnapshotInfo | undefined {
  try {
    return toSnapshotInfo(state);
  } catch {
    return undefined;
  }
}

function toSnapshotInfo({ id, manifest }: StoredState): SnapshotInfo {
  const { machine, kind, name = id, createdAt, parent, generation, bytes, files } = manifest;
  const { sandbox, processes = "{}", prepared } = readStoredSandbox(manifest.record);
  const copied = new Set(files.map(({ path }) => path));
  return {
    id,
    name,
    createdAt,
    kind,
    sandbox: { id: sandbox.id, name: sandbox.name },
    image: sandbox.spec.image,
    imageDigest: sandbox.imageDigest,
    ...(parent !== undefined && { parent }),
    generation,
    cpus: sandbox.spec.cpus,
    memoryMiB: sandbox.spec.memoryMiB,
    diskMiB: sandbox.spec.diskMiB,
    accelerator: machine.accelerator,
    vmm: { name: machine.vmm, version: machine.version },
    bytes,
    processes: kind === "running" ? runningIn(processes) : 0,
    volumes: volumesOf(sandbox.spec.mounts)
      .filter((_, slot) => copied.has(`volumes/${slot}`))
      .map((mount) => mount.name),
    ...(prepared !== undefined && { prepared }),
  };
}

/** @param text the list of processes, as it was written down */
function runningIn(text: string): number {
  try {
    const { processes = [] } = JSON.parse(text) as { processes?: { state?: string }[] };
    return processes.filter(({ state }) => state === "running").length;
  } catch {
    return 0;
  }
}
