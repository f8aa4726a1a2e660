import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { SandboxError } from "../../contract/index.ts";
import { storing } from "../storage-error.ts";
import { syncPath } from "../sync-path.ts";
import { StateDraft, type Step } from "./draft.ts";
import { type ExportOptions, exportState } from "./export.ts";
import { checkUnpacked, type ImportOptions, unpack } from "./import.ts";
import { MANIFEST_FILE, STATE_ID } from "./layout.ts";
import { type LoadableState, LoadableStates } from "./loadable.ts";
import { damagedState, readManifest, type StateManifest } from "./manifest.ts";
import { StateNames } from "./names.ts";
import { contentMark, KnownSums } from "./sums.ts";
import { contentMarks, type StoredState, titleOf, verifyState } from "./verify.ts";

export interface StateStoreOptions {
  /** Called at each step of storing a state; a test throws there, or never returns. */
  onStep?: (step: Step) => void | Promise<void>;
  /** Space on the disk, for tests. */
  freeBytes?: () => Promise<number>;
}

/** With less room on the disk than this, what only saves time goes first. */
const SCARCE_BYTES = 2 * 1024 ** 3;

/**
 * The states under one folder, `states/`.
 *
 *     <id>/              a state (layout.ts)
 *     <id>.partial/      one in the making
 *     <id>.removed/      one on its way out
 *     <id>.<n>.memory/   what VMMs load from (loadable.ts)
 *
 * Only `<id>/` is there for anybody; all else goes with a sweep. One process at a time has it.
 */
export class StateStore {
  readonly #directory: string;
  readonly #options: StateStoreOptions;
  readonly #sums = new KnownSums();
  readonly #loadable: LoadableStates;
  /** Marks of the states whose files this process has written or checked. */
  readonly #trusted = new Map<string, string>();
  /** Under way, by id: many may want to load a state at once. */
  readonly #checking = new Map<string, Promise<void>>();
  /** Manifests that were read before, and the marks of their files then: `list` reads all that there are. */
  readonly #manifests = new Map<string, { mark: string; manifest: StateManifest }>();
  readonly #names = new StateNames(() => this.list());
  /** States appear one after the other, so that of two with the same name one is the first. */
  #publishing: Promise<unknown> = Promise.resolve();

  constructor(directory: string, options: StateStoreOptions = {}) {
    this.#directory = directory;
    this.#options = options;
    this.#loadable = new LoadableStates(directory, (state) => this.ensureWhole(state));
  }

  /** A new, empty folder to store a state in. */
  async draft(): Promise<StateDraft> {
    await this.#makeRoom();
    const id = randomBytes(6).toString("hex");
    const directory = this.#path(`${id}.partial`);
    await storing("storing a state", () => mkdir(directory, { mode: 0o700 }));
    return new StateDraft(id, directory, {
      anticipate: (chain) => this.#loadable.anticipate(id, chain),
      forget: () => this.#loadable.drop(id),
      step: (step) => this.#step(step),
      sumOf: (path, options) => this.#sums.of(path, options),
      learnSums: (parent) => this.#learnSums(parent),
      publish: (partial, manifest, replaces) => this.#publish(partial, manifest, replaces),
    });
  }

  /** By id or name. @throws `not_found`; `internal` if its manifest is damaged */
  async get(ref: string): Promise<StoredState> {
    return this.#open(await this.#idOf(ref));
  }

  /** Those with names and those without, newest first. Those whose manifest is damaged are left out. */
  async list(): Promise<StoredState[]> {
    const ids = (await readdir(this.#directory)).filter((name) => STATE_ID.test(name));
    const states = await Promise.all(ids.map((id) => this.#open(id).catch(() => undefined)));
    return states
      .filter((state) => state !== undefined)
      .sort((a, b) => b.manifest.createdAt.localeCompare(a.manifest.createdAt) || a.id.localeCompare(b.id));
  }

  /** By id, a damaged one too, or name. States that were stored on top of it keep all they need. @throws `not_found` */
  async remove(ref: string): Promise<void> {
    const id = await this.#idOf(ref);
    const doomed = this.#path(`${id}.removed`);
    await rename(this.#path(id), doomed).catch((error: NodeJS.ErrnoException) => {
      throw error.code === "ENOENT" ? missing(ref) : error;
    });
    this.#trusted.delete(id);
    this.#manifests.delete(id);
    await this.#names.forget(id);
    await Promise.all([this.#loadable.drop(id), rm(doomed, { recursive: true, force: true })]);
  }

  /**
   * Removes what interrupted work left, and what VMMs loaded from: of two with one name the older, which the newer was to replace. To be
   * called when nobody uses the store.
   * @param used ids of states without a name that are still needed; others without a name go too, if it is given
   */
  async sweep(used?: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      if (!STATE_ID.test(name)) await rm(this.#path(name), { recursive: true, force: true });
    }
    const names = new Set<string>();
    for (const {
      id,
      manifest: { name },
    } of await this.list()) {
      const needed = name === undefined ? (used?.has(id) ?? true) : !names.has(name);
      if (name !== undefined) names.add(name);
      if (!needed) await this.remove(id);
    }
  }

  /** Reads every file and compares it with the manifest. @throws `internal` naming the damaged file, `cancelled` */
  async verify(state: StoredState, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    this.#manifests.delete(state.id);
    const marks = await contentMarks(state);
    await verifyState(await this.#open(state.id), options);
    this.#trusted.set(state.id, marks);
  }

  /**
   * A folder with `memory` (whole, sparse) and `state`, for VMMs to map read-only. The first time in this process, and when one of its
   * files has been written to, the state is verified before. Release it when the VMM has opened both.
   * @throws `internal` naming the damaged file, `invalid_state` if it has no memory, `resource_exhausted`
   */
  async loadable(state: StoredState): Promise<LoadableState> {
    await this.#makeRoom(state.id);
    return this.#loadable.lease(state);
  }

  /**
   * The state as one archive (export.ts), once every file was compared with the manifest.
   * @throws before the first byte: `internal` naming the damaged file, `invalid_state` for a state that is used once
   */
  async export(state: StoredState, options: ExportOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    await this.verify(state, options);
    return exportState(state, options);
  }

  /**
   * Takes in an archive, whoever made it. Nothing of it is left after an error. It has an id of its own, however often it is imported.
   * @throws `invalid_argument` for what is no archive of a state, `unauthenticated` (the passphrase), `already_exists` (the name),
   *   `resource_exhausted`, `cancelled`
   */
  async import(source: AsyncIterable<Uint8Array>, options: ImportOptions = {}): Promise<StoredState> {
    await using draft = await this.draft();
    const { signal } = options;
    const stream = source instanceof Readable ? source : Readable.from(source, { objectMode: false });
    // Whoever waits for more of it would wait for ever; and it may be destroyed when nobody reads it.
    const stop = () => stream.once("error", () => {}).destroy(signal?.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await storing("importing a snapshot", async () => {
        const manifest = await unpack(draft.directory, stream, options);
        const name = options.name ?? manifest.name ?? `imported-${draft.id}`;
        return draft.adopt(manifest, name, () => checkUnpacked(draft.directory, manifest, options));
      });
    } finally {
      signal?.removeEventListener("abort", stop);
      stream.destroy();
    }
  }

  async #makeRoom(except?: string): Promise<void> {
    const { freeBytes = () => freeBelow(this.#directory) } = this.#options;
    if ((await freeBytes()) < SCARCE_BYTES) await this.#loadable.dropIdle(except);
  }

  /**
   * To be called before its disks are used. Costs no more than a look at each file, unless this process has not verified the state yet, or
   * one of them was written to since.
   * @throws `internal` naming the damaged file
   */
  async ensureWhole(state: StoredState): Promise<void> {
    if (this.#trusted.get(state.id) === (await contentMarks(state))) return;
    if (!state.manifest.durable) {
      throw damagedState(
        titleOf(state),
        "it was made to be used once, and has changed, or its process has ended",
      );
    }
    const { id } = state;
    const checking = this.#checking.get(id) ?? this.verify(state).finally(() => this.#checking.delete(id));
    this.#checking.set(id, checking);
    await checking;
  }

  /** A name always has a state: the one that is replaced goes when the new one is there for good. */
  async #publish(partial: string, manifest: StateManifest, replaces?: string): Promise<StoredState> {
    const { id, name } = manifest;
    const state = { id, directory: this.#path(id), manifest };
    let old: string | undefined;
    const giveUp = async (error: unknown): Promise<never> => {
      await this.remove(id);
      if (name !== undefined && old !== undefined) await this.#names.give(name, old);
      throw error;
    };
    const publishing = this.#publishing.then(async () => {
      if (name !== undefined) old = await this.#named(name);
      if (name !== undefined && old !== undefined && old !== replaces) throw taken(name);
      await rename(partial, state.directory);
      if (name !== undefined) await this.#names.give(name, id);
      if (manifest.durable) await syncPath(this.#directory).catch(giveUp);
    });
    this.#publishing = publishing.catch(() => {});
    await publishing;
    try {
      this.#trusted.set(id, await contentMarks(state));
      await this.#step("published");
    } catch (error) {
      await giveUp(error);
    }
    // What cannot be removed now goes with a sweep: until then the newer counts.
    if (old !== undefined) await this.remove(old).catch(() => {});
    return state;
  }

  /** So that what two states share is not read again for the second; and what was damaged since is found to be. */
  async #learnSums(id: string): Promise<void> {
    const parent = await this.#open(id).catch(() => undefined);
    for (const { path, sha256 } of parent?.manifest.files ?? []) {
      if (sha256 !== undefined) {
        await this.#sums.learn(join(parent!.directory, path), sha256).catch(() => {});
      }
    }
  }

  async #idOf(ref: string): Promise<string> {
    if (STATE_ID.test(ref) && existsSync(this.#path(ref))) return ref;
    const named = await this.#named(ref);
    if (named === undefined) throw missing(ref);
    return named;
  }

  async #named(name: string): Promise<string | undefined> {
    const id = await this.#names.find(name);
    if (id === undefined || existsSync(this.#path(id))) return id;
    await this.#names.forget(id);
    return undefined;
  }

  async #open(id: string): Promise<StoredState> {
    const directory = this.#path(id);
    const mark = await stat(join(directory, MANIFEST_FILE), { bigint: true }).then(
      contentMark,
      () => undefined,
    );
    const known = this.#manifests.get(id);
    if (known !== undefined && known.mark === mark) return { id, directory, manifest: known.manifest };
    const manifest = await readManifest(directory, id);
    if (manifest !== undefined) {
      if (mark !== undefined) this.#manifests.set(id, { mark, manifest });
      return { id, directory, manifest };
    }
    this.#manifests.delete(id);
    throw existsSync(directory) ? damagedState(id, "manifest.json is missing") : missing(id);
  }

  async #step(step: Step): Promise<void> {
    await this.#options.onStep?.(step);
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

async function freeBelow(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

function missing(ref: string): SandboxError {
  return new SandboxError("not_found", `there is no snapshot '${ref}'`, {
    hint: "'msb snapshot ls' lists those that there are.",
  });
}

function taken(name: string): SandboxError {
  return new SandboxError("already_exists", `there is a snapshot '${name}' already`, {
    hint: `Choose another name, or remove it: msb snapshot rm ${name}`,
  });
}
