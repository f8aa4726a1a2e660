/** States for tests: small memories, each page filled with a number of its own. */

import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PAGE_BYTES, type Run } from "./delta.ts";
import type { NewState, StateDraft } from "./draft.ts";
import { chainOf, type MachineIdentity, StateStore, type StoredState, writeDelta } from "./index.ts";
import type { StateStoreOptions } from "./store.ts";

export const machine: MachineIdentity = {
  cpus: 1,
  memoryMiB: 256,
  volumeSlots: 0,
  network: "",
  assets: "a".repeat(64),
  vmm: "qemu",
  version: "10.0.2",
  fingerprint: "f",
  accelerator: "tcg",
  cpuModel: "max",
  processor: "",
  agentProtocol: 3,
};

/** A memory as numbers, one for each page. */
export type Pages = number[];

export function page(number: number): Buffer {
  return Buffer.alloc(PAGE_BYTES, number);
}

export function bytesOf(pages: Pages): Buffer {
  return Buffer.concat(pages.map(page));
}

/** `changes` by page number: what a level holds. */
export function applied(pages: Pages, changes: ReadonlyMap<number, number>): Pages {
  return pages.map((old, i) => changes.get(i) ?? old);
}

/** Runs of the pages that are in `changes`. */
export function runsOf(changes: ReadonlyMap<number, number>): Run[] {
  const runs: Run[] = [];
  for (const number of [...changes.keys()].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last.page + last.count === number) last.count++;
    else runs.push({ page: number, count: 1 });
  }
  return runs;
}

export async function writeLevel(
  directory: string,
  level: number,
  changes: ReadonlyMap<number, number>,
): Promise<void> {
  const numbers = [...changes.keys()].sort((a, b) => a - b);
  await writeDelta(directory, level, runsOf(changes), (file) =>
    writeFile(file, Buffer.concat(numbers.map((number) => page(changes.get(number)!)))),
  );
}

export interface Workspace extends AsyncDisposable {
  folder: string;
  /** Of the store. */
  directory: string;
  store: StateStore;
  /** Another daemon on the same folder. */
  reopen(options?: StateStoreOptions): StateStore;
  /** A file with these pages, a template's. */
  base(pages: Pages): Promise<string>;
  put(store: StateStore, spec: Spec): Promise<StoredState>;
}

export interface Spec extends Partial<Omit<NewState, "memory">> {
  base?: string;
  from?: StoredState;
  changes?: ReadonlyMap<number, number>;
  /** Text of the topmost file of disk `upper`. */
  disk?: string;
  durable?: boolean;
  replaces?: string;
}

export async function workspace(options: StateStoreOptions = {}): Promise<Workspace> {
  const folder = await mkdtemp(join(tmpdir(), "msb-states-"));
  const directory = join(folder, "states");
  await mkdir(directory);
  const reopen = (other: StateStoreOptions = {}) => new StateStore(directory, other);
  return {
    folder,
    directory,
    store: reopen(options),
    reopen,
    async base(pages) {
      const file = join(folder, "base");
      await writeFile(file, bytesOf(pages), { mode: 0o444 });
      return file;
    },
    async put(store, spec) {
      const draft = await store.draft();
      return draft.finish(await fill(draft, spec), {
        durable: spec.durable ?? true,
        replaces: spec.replaces,
      });
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Puts into a draft what its maker puts there. */
export async function fill(draft: StateDraft, spec: Spec): Promise<NewState> {
  const { base, from, changes, disk, durable: _, replaces: __, ...about } = spec;
  const chain =
    from === undefined
      ? base === undefined
        ? undefined
        : { base, deltas: [] }
      : chainOf(from.directory, from.manifest.memory!.levels.length);
  if (chain !== undefined) {
    await writeLevel(draft.directory, chain.deltas.length, changes ?? new Map());
    await writeFile(join(draft.directory, "state"), `state of ${draft.id}`);
  }
  await put(join(draft.directory, "disks/upper/0"), "lowest");
  await put(join(draft.directory, "disks/upper/1"), disk ?? `disk of ${draft.id}`);
  return {
    kind: chain === undefined ? "stopped" : "running",
    ...(from === undefined ? {} : { parent: from.id }),
    generation: 0,
    machine,
    record: { spec: { image: "alpine" } },
    ...about,
    memory: chain,
  };
}

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** The memory that a VMM would see. */
export async function memoryOf(store: StateStore, state: StoredState): Promise<Buffer> {
  const { directory, release } = await store.loadable(state);
  try {
    return await readFile(join(directory, "memory"));
  } finally {
    await release();
  }
}

/** A file of this size with `data` at these places, and holes elsewhere. */
export async function writeSparse(
  path: string,
  bytes: number,
  data: ReadonlyMap<number, Buffer>,
): Promise<void> {
  await using file = await open(path, "wx");
  await file.truncate(bytes);
  for (const [at, buffer] of data) await file.write(buffer, 0, buffer.length, at);
}
