/**
 * The folders that VMMs load states from: `memory`, made of the base and all levels, and `state`. Made at the first need, shared by all
 * that load, kept a while for those who come next, and never trusted by another process: a sweep removes them.
 */

import { chmod, copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { storing } from "../storage-error.ts";
import { chainOf, type MemoryChain } from "./chain.ts";
import { MEMORY_FILE, STATE_FILE } from "./layout.ts";
import { applyLevels, materialise } from "./materialise.ts";
import { allOrThrow } from "./page-sources.ts";
import { contentMark } from "./sums.ts";
import { type StoredState, titleOf } from "./verify.ts";

/** Ends the names of these folders, which begin with the state's id. */
const LOADABLE_SUFFIX = ".memory";
/** Kept while nobody loads from them: each takes up to a memory's size on disk. */
const MAX_IDLE = 4;
const MAX_ATTEMPTS = 3;

/** Somebody loads from `directory`: it stays until `release`, which may be called again. */
export interface LoadableState {
  directory: string;
  release(): Promise<void>;
}

interface Entry {
  directory: string;
  /** Marks of its files when they were made. */
  made: Promise<string>;
  leases: number;
  /** Nobody is to get it any more. */
  retired: boolean;
}

export class LoadableStates {
  readonly #directory: string;
  readonly #check: (state: StoredState) => Promise<void>;
  /** By id of the state; the one that was asked for last stands last. */
  readonly #entries = new Map<string, Entry>();
  /** Memories without their last level, by id of the state to be. */
  readonly #anticipated = new Map<string, { directory: string; ready: Promise<void> }>();
  #count = 0;

  /** @param check throws if the state cannot be trusted; called for each lease */
  constructor(directory: string, check: (state: StoredState) => Promise<void>) {
    this.#directory = directory;
    this.#check = check;
  }

  /** @throws `invalid_state` if the state has no memory; what the check throws; `resource_exhausted` */
  async lease(state: StoredState): Promise<LoadableState> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      // What is made already is of the files as they were; the disks are not in it.
      if (this.#entries.has(state.id)) await this.#check(state);
      const entry = this.#entryOf(state);
      entry.leases++;
      try {
        if ((await entry.made) === (await marksOf(entry.directory))) return this.#lent(entry);
      } catch (error) {
        await this.#release(entry);
        throw error;
      }
      // Somebody has been at its files.
      this.#retire(state.id, entry);
      await this.#release(entry);
    }
    throw new SandboxError(
      "internal",
      `the memory of state '${titleOf(state)}' does not stay as it was made`,
    );
  }

  /**
   * Begins to make the memory of a state that is not stored yet: all but its own level. What it costs is spent while its machine is
   * captured, not while a VMM waits for it.
   */
  anticipate(id: string, chain: MemoryChain): void {
    const directory = this.#newDirectory(id);
    const ready = mkdir(directory, { mode: 0o700 }).then(() =>
      materialise(chain.base, chain.deltas, join(directory, MEMORY_FILE)),
    );
    // Whoever needs it makes it anew then.
    ready.catch(() => {});
    this.#anticipated.set(id, { directory, ready });
  }

  /** The state goes. Whoever loads from it now may finish. */
  async drop(id: string): Promise<void> {
    await this.#dropAnticipated(id);
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#retire(id, entry);
    await this.#removeIfUnused(entry);
  }

  /** Removes those that nobody loads from now: they are there to save time only. */
  async dropIdle(except?: string): Promise<void> {
    for (const [id, { leases }] of [...this.#entries]) {
      if (leases === 0 && id !== except) await this.drop(id);
    }
  }

  #entryOf(state: StoredState): Entry {
    const known = this.#entries.get(state.id);
    if (known !== undefined) {
      this.#entries.delete(state.id);
      this.#entries.set(state.id, known);
      return known;
    }
    const directory = this.#newDirectory(state.id);
    const entry: Entry = { directory, made: this.#make(state, directory), leases: 0, retired: false };
    this.#entries.set(state.id, entry);
    entry.made.catch(() => this.#retire(state.id, entry));
    return entry;
  }

  async #make(state: StoredState, directory: string): Promise<string> {
    if (state.manifest.memory === undefined) {
      throw new SandboxError("invalid_state", `state '${titleOf(state)}' holds no memory, only disks`);
    }
    // Side by side, and nobody gets the one before the other has ended well.
    const making = this.#build(state, state.manifest.memory.levels.length, directory);
    const [checked, made] = await Promise.allSettled([this.#check(state), making]);
    if (checked.status === "rejected") throw checked.reason;
    if (made.status === "rejected") throw made.reason;
    return marksOf(directory);
  }

  async #build(state: StoredState, levels: number, directory: string): Promise<void> {
    await storing(`loading state '${titleOf(state)}'`, async () => {
      await mkdir(directory, { mode: 0o700 });
      const chain = chainOf(state.directory, levels);
      const files = [join(directory, MEMORY_FILE), join(directory, STATE_FILE)] as const;
      await allOrThrow([
        this.#materialise(state.id, chain, files[0]),
        copyFile(join(state.directory, STATE_FILE), files[1]),
      ]);
      // For VMMs, each of which has a uid of its own and sees this folder only; the folder above keeps others out.
      await Promise.all([...files.map((file) => chmod(file, 0o444)), chmod(directory, 0o755)]);
    });
  }

  async #materialise(id: string, { base, deltas }: MemoryChain, memory: string): Promise<void> {
    const begun = this.#anticipated.get(id);
    const ready = await begun?.ready.then(
      () => true,
      () => false,
    );
    if (begun !== undefined && ready) {
      // The last level has all that was written since; or, where levels were made one, all that was ever written.
      await rename(join(begun.directory, MEMORY_FILE), memory);
      await applyLevels(deltas.slice(-1), memory);
    } else await materialise(base, deltas, memory);
    await this.#dropAnticipated(id);
  }

  async #dropAnticipated(id: string): Promise<void> {
    const begun = this.#anticipated.get(id);
    if (begun === undefined) return;
    this.#anticipated.delete(id);
    await begun.ready.catch(() => {});
    await rm(begun.directory, { recursive: true, force: true });
  }

  #newDirectory(id: string): string {
    return join(this.#directory, `${id}.${this.#count++}${LOADABLE_SUFFIX}`);
  }

  #lent(entry: Entry): LoadableState {
    let lent = true;
    const release = async () => {
      if (!lent) return;
      lent = false;
      await this.#release(entry);
    };
    return { directory: entry.directory, release };
  }

  async #release(entry: Entry): Promise<void> {
    entry.leases--;
    await this.#removeIfUnused(entry);
    const idle = [...this.#entries].filter(([, { leases }]) => leases === 0);
    for (const [id] of idle.slice(0, Math.max(0, idle.length - MAX_IDLE))) await this.drop(id);
  }

  #retire(id: string, entry: Entry): void {
    entry.retired = true;
    if (this.#entries.get(id) === entry) this.#entries.delete(id);
  }

  async #removeIfUnused({ directory, made, leases, retired }: Entry): Promise<void> {
    if (!retired || leases > 0) return;
    await made.catch(() => {});
    await rm(directory, { recursive: true, force: true });
  }
}

/** Changes when one of the files is written to or replaced; not with links, which those who loaded from them keep. */
async function marksOf(directory: string): Promise<string> {
  const marks = [MEMORY_FILE, STATE_FILE].map((name) =>
    stat(join(directory, name), { bigint: true }).then(contentMark, () => "missing"),
  );
  return (await Promise.all(marks)).join(" ");
}
