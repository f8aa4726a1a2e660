import { chmod, chown, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { storing } from "../storage-error.ts";
import { syncPath } from "../sync-path.ts";
import { isLong, linkChain, type MemoryChain } from "./chain.ts";
import { type DeltaFiles, deltaFiles, PAGE_BYTES } from "./delta.ts";
import { flatten } from "./flatten.ts";
import { DISKS, isStateFile, MANIFEST_FILE } from "./layout.ts";
import {
  decodeManifest,
  encodeManifest,
  MAX_MANIFEST_BYTES,
  type ManifestFile,
  type StateManifest,
} from "./manifest.ts";
import { bytesOnDisk, ownFiles } from "./own-bytes.ts";
import type { StoredState } from "./verify.ts";

/** What a state is, as whoever stores it knows it. */
export type NewState = Pick<
  StateManifest,
  "kind" | "name" | "parent" | "generation" | "machine" | "record"
> & {
  /** For `running`: the chain that its sandbox was loaded from. Its own level is in the draft's folder by then. */
  memory?: MemoryChain | undefined;
};

export interface FinishOptions {
  /**
   * False for a state that is used once, soon, by this process: nothing is forced to the disk and no sum is taken. States that are
   * stored on top of it take what sums they need.
   */
  durable: boolean;
  /** Id of the state that may have the name: it goes when the new one is there. Default: the name must be free. */
  replaces?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** What a state's storing goes through, for tests that cut it off there. */
export const STEPS = ["linked", "flattened", "summed", "synced", "described", "published"] as const;
export type Step = (typeof STEPS)[number];

/** What a draft needs of its store. */
export interface DraftHome {
  anticipate(chain: MemoryChain): void;
  /** Nothing of it is needed any more. */
  forget(): Promise<void>;
  step(step: Step): Promise<void>;
  sumOf(path: string, options: { signal?: AbortSignal | undefined }): Promise<string>;
  /** Looks what sums are known of the files of this state. */
  learnSums(id: string): Promise<void>;
  /** Renames the folder into place. @throws `already_exists` if the name is taken */
  publish(directory: string, manifest: StateManifest, replaces?: string): Promise<StoredState>;
}

/**
 * A state in the making: a folder that nobody sees. The caller puts into it `state` and its own level of memory (`writeDelta` with
 * level = number of inherited ones), if it ran, and the files of its disks (`disks/<role>/<n>`) and of volumes (`volumes/<slot>`).
 */
export class StateDraft implements AsyncDisposable {
  readonly id: string;
  readonly directory: string;
  readonly #home: DraftHome;
  #published = false;

  constructor(id: string, directory: string, home: DraftHome) {
    this.id = id;
    this.directory = directory;
    this.#home = home;
  }

  /**
   * Says that the state will be loaded as soon as it is stored, and what it will inherit: all of its memory but its own level is made ready
   * from now on, beside the capture of the machine.
   */
  anticipateLoading(chain: MemoryChain): void {
    this.#home.anticipate(chain);
  }

  /**
   * Adds what is inherited, makes one level of many, and has the state appear. After an error there is neither draft nor state.
   * @throws `already_exists` (the name), `resource_exhausted`, `cancelled`, `internal` if files are missing or damaged
   */
  async finish(state: NewState, options: FinishOptions): Promise<StoredState> {
    try {
      const stored = await storing("storing a state", () => this.#finish(state, options));
      this.#published = true;
      return stored;
    } catch (error) {
      await this.discard();
      throw error;
    }
  }

  /**
   * Has a state appear that came out of an archive, whose files are all there and its own.
   * @param state its manifest, as it was where it comes from. @param check compares the files with it
   */
  async adopt(state: StateManifest, name: string, check: () => Promise<void>): Promise<StoredState> {
    const paths = state.files.map(({ path }) => path);
    await this.#settle(paths, paths, true, check);
    const stored = await this.#publish(paths, { ...state, id: this.id, name });
    this.#published = true;
    return stored;
  }

  async discard(): Promise<void> {
    if (this.#published) return;
    await Promise.all([rm(this.directory, { recursive: true, force: true }), this.#home.forget()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.discard();
  }

  async #finish(state: NewState, { durable, replaces, signal }: FinishOptions): Promise<StoredState> {
    const { memory: chain, ...about } = state;
    const memory = chain === undefined ? undefined : await this.#joinMemory(chain);
    await this.#home.step("flattened");

    const paths = await this.#paths();
    const own = ownFiles(
      paths.map((path) => ({ path })),
      memory?.levels.length ?? 0,
    );
    const files = await this.#settle(paths, own, durable, () =>
      this.#describe(paths, state.parent, { durable, signal }),
    );
    const createdAt = new Date().toISOString();
    const described = { version: 1 as const, id: this.id, createdAt, ...about, memory, durable, files };
    return this.#publish(own, described, replaces);
  }

  /** Seals what is its own, and has all on disk, while `work` reads the files. */
  async #settle<T>(
    paths: readonly string[],
    own: Iterable<string>,
    durable: boolean,
    work: () => Promise<T>,
  ): Promise<T> {
    await Promise.all([...own].map((path) => seal(join(this.directory, path), path)));
    const syncing = durable ? this.#sync(paths) : Promise.resolve();
    // It is waited for below, whatever happens before.
    syncing.catch(() => {});
    let result: T;
    try {
      result = await work();
      await this.#home.step("summed");
    } finally {
      await syncing;
    }
    await this.#home.step("synced");
    return result;
  }

  async #publish(
    own: Iterable<string>,
    about: Omit<StateManifest, "bytes">,
    replaces?: string,
  ): Promise<StoredState> {
    const bytes = await bytesOnDisk(this.directory, own);
    const manifest = await writeManifest(this.directory, { ...about, bytes });
    await this.#home.step("described");
    return this.#home.publish(this.directory, manifest, replaces);
  }

  /** The levels below its own come in as links, or all become one. */
  async #joinMemory({ base, deltas: inherited }: MemoryChain): Promise<StateManifest["memory"]> {
    const { size: bytes } = await stat(base);
    const own = deltaFiles(this.directory, inherited.length);
    const deltas = [...inherited, own];
    const levels = await Promise.all(deltas.map(pagesOf));
    const long = isLong(levels, bytes);
    await linkChain({ base, deltas: long ? [] : inherited }, this.directory);
    await this.#home.step("linked");
    if (!long) return { bytes, levels };
    const pages = await flatten(deltas, bytes, this.directory);
    await Promise.all([rm(own.runs), rm(own.pages)]);
    return { bytes, levels: [pages] };
  }

  /** Of all files, in order. @throws `internal` if one does not belong into a state */
  async #paths(): Promise<string[]> {
    const entries = await readdir(this.directory, { recursive: true, withFileTypes: true });
    const paths = entries
      .filter((entry) => !entry.isDirectory())
      .map(({ parentPath, name }) => join(parentPath, name).slice(this.directory.length + 1))
      .sort();
    const stranger = paths.find((path) => !isStateFile(path));
    if (stranger === undefined) return paths;
    throw new SandboxError("internal", `'${stranger}' is no file of a state`);
  }

  async #describe(
    paths: string[],
    parent: string | undefined,
    { durable, signal }: FinishOptions,
  ): Promise<ManifestFile[]> {
    if (durable && parent !== undefined) await this.#home.learnSums(parent);
    const files: ManifestFile[] = [];
    for (const path of paths) {
      const file = join(this.directory, path);
      const { size: bytes } = await stat(file);
      files.push({ path, bytes, sha256: durable ? await this.#home.sumOf(file, { signal }) : undefined });
    }
    return files;
  }

  /** One after the other: each takes a thread of four that the whole daemon has for files. */
  async #sync(paths: readonly string[]): Promise<void> {
    const folders = new Set(paths.flatMap((path) => parents(path)));
    for (const path of [...paths, ...folders]) await syncPath(join(this.directory, path));
  }
}

/** Into a folder that is not visible yet. Returns it as it will be read. @throws `internal` if it does not describe a state */
async function writeManifest(directory: string, manifest: StateManifest): Promise<StateManifest> {
  const { id } = manifest;
  let text: string;
  try {
    text = encodeManifest(manifest);
  } catch (cause) {
    throw new SandboxError("internal", `state ${id} is not whole: ${(cause as Error).message}`, { cause });
  }
  if (Buffer.byteLength(text) > MAX_MANIFEST_BYTES) {
    throw new SandboxError("resource_exhausted", `what is known of state ${id} is too long to be stored`);
  }
  const written = decodeManifest(text);
  if ("problem" in written)
    throw new SandboxError("internal", `state ${id} is not whole: ${written.problem}`);
  await writeFile(join(directory, MANIFEST_FILE), text, {
    flag: "wx",
    mode: 0o600,
    flush: manifest.durable,
  });
  if (manifest.durable) await syncPath(directory);
  return written;
}

/**
 * Nobody writes to it from here on. Disks are read by VMMs, each of which has a uid of its own, so nothing but the states' folder keeps
 * others out; all else is the daemon's alone. A VMM may have written it, under a uid that another machine gets later.
 */
async function seal(file: string, path: string): Promise<void> {
  await chmod(file, path.startsWith(`${DISKS}/`) ? 0o444 : 0o400);
  if (process.getuid?.() === 0) await chown(file, 0, 0);
}

async function pagesOf({ pages }: DeltaFiles): Promise<number> {
  return Math.floor((await stat(pages)).size / PAGE_BYTES);
}

function parents(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join("/"));
}
