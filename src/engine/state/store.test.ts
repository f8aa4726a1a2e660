import { existsSync } from "node:fs";
import { link, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chainOf } from "./chain.ts";
import { deltaFiles } from "./delta.ts";
import { STEPS, type Step } from "./draft.ts";
import { applied, bytesOf, fill, machine, memoryOf, type Pages, workspace } from "./state.test-support.ts";
import type { StoredState } from "./verify.ts";

const zeros: Pages = Array.from({ length: 64 }, () => 0);

test("a state is found by id and by name, with all that it was stored with", async () => {
  await using ws = await workspace();
  const base = await ws.base(zeros);
  const state = await ws.put(ws.store, { base, name: "first", generation: 3, changes: new Map([[1, 2]]) });
  for (const store of [ws.store, ws.reopen()]) {
    expect(await store.get("first")).toEqual(state);
    expect(await store.get(state.id)).toEqual(state);
    expect(await store.list()).toEqual([state]);
  }
  expect(state.manifest).toMatchObject({
    kind: "running",
    generation: 3,
    machine,
    record: { spec: { image: "alpine" } },
    memory: { bytes: 64 * 4096, levels: [1] },
  });
  expect(state.manifest.files.map(({ path }) => path)).toEqual([
    "base",
    "delta/0.pages",
    "delta/0.runs",
    "disks/upper/0",
    "disks/upper/1",
    "state",
  ]);
  await ws.reopen().verify(state);
  await expect(ws.store.get("nobody")).rejects.toMatchObject({ code: "not_found" });
  await expect(ws.store.get("../first")).rejects.toMatchObject({ code: "not_found" });
});

test("a stopped sandbox is stored with its disks, and cannot be loaded", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { disk: "what it wrote" });
  expect(await readFile(join(state.directory, "disks/upper/1"), "utf8")).toBe("what it wrote");
  await expect(ws.store.loadable(state)).rejects.toMatchObject({ code: "invalid_state" });
  expect((await readdir(ws.directory)).sort()).toEqual([state.id]);
});

test("nothing of it is for others to read, and nobody writes to it", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { base: await ws.base(zeros) });
  expect((await stat(state.directory)).mode & 0o777).toBe(0o700);
  for (const { path } of state.manifest.files) {
    const { mode } = await stat(join(state.directory, path));
    // VMMs of any uid read disks, and a base is the template's: the folder keeps others out.
    const expected =
      path === "disks/upper/1" || path === "base" ? 0o444 : path === "disks/upper/0" ? undefined : 0o400;
    if (expected !== undefined) expect(mode & 0o777, path).toBe(expected);
  }
  expect((await stat(join(state.directory, "manifest.json"))).mode & 0o777).toBe(0o600);
});

test("of two with one name the first stays, also at the same moment", async () => {
  await using ws = await workspace();
  const results = await Promise.allSettled([
    ws.put(ws.store, { name: "a" }),
    ws.put(ws.store, { name: "a" }),
  ]);
  expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  await expect(ws.put(ws.store, { name: "a" })).rejects.toMatchObject({ code: "already_exists" });
  expect(await readdir(ws.directory)).toHaveLength(1);
});

test("a name is found without a look at other states, and is free when its state is gone", async () => {
  await using ws = await workspace();
  const [a, b] = [await ws.put(ws.store, { name: "a" }), await ws.put(ws.store, { name: "b" })];
  const later = ws.reopen();
  expect((await later.get("a")).id).toBe(a.id);
  // Nobody looks at it any more, so nobody sees that it is damaged.
  await writeFile(join(b.directory, "manifest.json"), "no manifest");
  expect((await later.get("a")).id).toBe(a.id);
  await expect(later.get("c")).rejects.toMatchObject({ code: "not_found" });
  // Its name is known from before.
  await later.remove("b");
  await later.remove("a");
  await expect(later.get("a")).rejects.toMatchObject({ code: "not_found" });
  const again = await ws.put(later, { name: "a" });
  expect((await later.get("a")).id).toBe(again.id);
  await rm(again.directory, { recursive: true });
  await expect(later.get("a")).rejects.toMatchObject({ code: "not_found" });
  await ws.put(later, { name: "a" });
});

/** States stored one on top of the other. */
async function line(ws: Awaited<ReturnType<typeof workspace>>, length: number, durable = true) {
  const base = await ws.base(zeros);
  const states: StoredState[] = [];
  const memories: Pages[] = [];
  for (let i = 0; i < length; i++) {
    const changes = new Map([
      [i, i + 1],
      [20, i + 1],
      [63 - i, 100 + i],
    ]);
    memories.push(applied(memories.at(-1) ?? zeros, changes));
    const from = states.at(-1);
    states.push(await ws.put(ws.store, { ...(from === undefined ? { base } : { from }), changes, durable }));
  }
  return { states, memories };
}

test("twelve states in a row load as they were, from four levels at most, whatever else is removed", async () => {
  await using ws = await workspace();
  const { states, memories } = await line(ws, 12);
  for (const [i, state] of states.entries()) {
    expect(state.manifest.memory!.levels.length).toBeLessThanOrEqual(4);
    expect((await memoryOf(ws.store, state)).equals(bytesOf(memories[i]!)), `state ${i}`).toBe(true);
  }
  expect(states.some(({ manifest }) => manifest.memory!.levels.length === 4)).toBe(true);
  await rm(join(ws.folder, "base"));
  for (const state of states.slice(0, -1)) await ws.store.remove(state.id);
  const later = ws.reopen();
  expect(await later.list()).toEqual([states.at(-1)]);
  await later.verify(states.at(-1)!);
  expect((await memoryOf(later, states.at(-1)!)).equals(bytesOf(memories.at(-1)!))).toBe(true);
});

test("what states share is on disk once, and each counts what it wrote itself", async () => {
  await using ws = await workspace();
  const base = await ws.base(zeros);
  const first = await ws.put(ws.store, {
    base,
    changes: new Map(zeros.map((_, i) => [i, 1] as const).slice(0, 16)),
  });
  const second = await ws.put(ws.store, { from: first, changes: new Map([[3, 4]]) });
  const inode = async (state: StoredState, path: string) => (await stat(join(state.directory, path))).ino;
  for (const path of ["base", "delta/0.pages", "delta/0.runs"]) {
    expect(await inode(second, path), path).toBe(await inode(first, path));
  }
  expect(await inode(first, "base")).toBe((await stat(base)).ino);
  // Pages, runs and device state; and the topmost of two files of its disk.
  expect(first.manifest.bytes).toEqual({ memory: (16 + 2) * 4096, disks: 4096, volumes: 0 });
  expect(second.manifest.bytes).toEqual({ memory: (1 + 2) * 4096, disks: 4096, volumes: 0 });
});

test("a state for one use has no sums, those stored on it have, and a later process does not load it", async () => {
  await using ws = await workspace();
  const [fork] = (await line(ws, 1, false)).states;
  expect(fork!.manifest.files.every(({ sha256 }) => sha256 === undefined)).toBe(true);
  await memoryOf(ws.store, fork!);
  const child = await ws.put(ws.store, { from: fork!, changes: new Map([[5, 5]]), name: "child" });
  expect(child.manifest.files.every(({ sha256 }) => sha256 !== undefined)).toBe(true);
  await ws.reopen().verify(child);
  await expect(ws.reopen().loadable(fork!)).rejects.toMatchObject({ code: "internal" });
});

test("one memory is made for all who load at the same time, and another when somebody has been at it", async () => {
  await using ws = await workspace();
  const [state] = (await line(ws, 1)).states;
  const loads = await Promise.all(Array.from({ length: 5 }, () => ws.store.loadable(state!)));
  const [directory] = [...new Set(loads.map((load) => load.directory))];
  expect(new Set(loads.map((load) => load.directory)).size).toBe(1);
  expect((await readdir(directory!)).sort()).toEqual(["memory", "state"]);
  const file = join(directory!, "memory");
  const good = await readFile(file);
  // Sandboxes keep what they were loaded from.
  await link(file, join(ws.folder, "kept"));
  const again = await ws.store.loadable(state!);
  expect(again.directory).toBe(directory);
  await again.release();
  await rm(file);
  await writeFile(file, Buffer.alloc(good.length, 0xee));
  expect((await memoryOf(ws.store, state!)).equals(good)).toBe(true);
  // It is there until the last who loads from it has done so.
  expect(existsSync(file)).toBe(true);
  for (const { release } of loads) await release();
  await loads[0]!.release();
  expect(existsSync(file)).toBe(false);
});

test("a memory that was begun before the state was stored is the same, levels made one or not", async () => {
  await using ws = await workspace();
  const { states, memories } = await line(ws, 4);
  let [from, pages] = [states[0]!, memories[0]!];
  const counts = new Set<number>();
  for (let i = 0; i < 6; i++) {
    const changes = new Map([
      [i, 200],
      [40, 100 + i],
    ]);
    const draft = await ws.store.draft();
    draft.anticipateLoading(chainOf(from.directory, from.manifest.memory!.levels.length));
    from = await draft.finish(await fill(draft, { from, changes }), { durable: i % 2 === 0 });
    pages = applied(pages, changes);
    counts.add(from.manifest.memory!.levels.length);
    expect((await memoryOf(ws.store, from)).equals(bytesOf(pages)), `state ${i}`).toBe(true);
  }
  expect([...counts].sort()).toEqual([1, 2, 3, 4]);
});

test("a memory that was begun in vain is removed, and one that failed is made anew", async () => {
  await using ws = await workspace();
  const base = await ws.base(zeros);
  const draft = await ws.store.draft();
  draft.anticipateLoading({ base, deltas: [] });
  await draft.discard();
  expect(await readdir(ws.directory)).toEqual([]);

  const other = await ws.store.draft();
  other.anticipateLoading({ base: join(ws.folder, "nowhere"), deltas: [] });
  const state = await other.finish(await fill(other, { base, changes: new Map([[1, 9]]) }), {
    durable: false,
  });
  expect((await memoryOf(ws.store, state)).equals(bytesOf(applied(zeros, new Map([[1, 9]]))))).toBe(true);
  await ws.store.remove(state.id);
  expect(await readdir(ws.directory)).toEqual([]);
});

test("memories that nobody loads from are kept for a while, the latest few", async () => {
  await using ws = await workspace();
  const { states } = await line(ws, 7);
  for (const state of states) await memoryOf(ws.store, state);
  const kept = (await readdir(ws.directory)).filter((name) => name.endsWith(".memory"));
  expect(kept.map((name) => name.split(".")[0]).sort()).toEqual(
    states
      .slice(-4)
      .map(({ id }) => id)
      .sort(),
  );
});

test("memories that nobody loads from go when the disk gets full, those in use stay", async () => {
  let free = 2 ** 40;
  await using ws = await workspace({ freeBytes: async () => free });
  const { states } = await line(ws, 3);
  await memoryOf(ws.store, states[0]!);
  const used = await ws.store.loadable(states[1]!);
  free = 2 ** 20;
  const memories = async () => (await readdir(ws.directory)).filter((name) => name.endsWith(".memory"));
  expect(await memories()).toHaveLength(2);
  await (await ws.store.draft()).discard();
  expect(await memories()).toHaveLength(1);
  expect(existsSync(join(used.directory, "memory"))).toBe(true);
  await used.release();
});

test("a state may be removed while it is loaded", async () => {
  await using ws = await workspace();
  const [state] = (await line(ws, 1)).states;
  const { directory, release } = await ws.store.loadable(state!);
  await ws.store.remove(state!.id);
  await expect(ws.store.get(state!.id)).rejects.toMatchObject({ code: "not_found" });
  expect((await readdir(directory)).sort()).toEqual(["memory", "state"]);
  await release();
  expect(await readdir(ws.directory)).toEqual([]);
});

const stepsOf = (kind: string) => STEPS.filter((step) => kind === "running" || step !== "linked");

test.each(stepsOf("running"))("an error when it is %s leaves neither draft nor state", async (at) => {
  await using ws = await workspace({ onStep: (step) => (step === at ? fail(step) : undefined) });
  const attempt = ws.put(ws.store, { base: await ws.base(zeros), name: "half" });
  await expect(attempt).rejects.toThrow(`fault at ${at}`);
  const there = await readdir(ws.directory);
  expect(there).toEqual([]);
});

test.each(stepsOf("running"))(
  "a process that ends when it is %s leaves a whole state or what a sweep removes",
  async (at) => {
    const reached = Promise.withResolvers<void>();
    const never = new Promise<void>(() => {});
    const onStep = (step: Step) => {
      if (step !== at) return;
      reached.resolve();
      return never;
    };
    await using ws = await workspace({ onStep });
    void ws.put(ws.store, { base: await ws.base(zeros), name: "half" });
    await reached.promise;
    const later = ws.reopen();
    const before = await later.list();
    await later.sweep(new Set());
    expect(await later.list()).toEqual(before);
    expect(await readdir(ws.directory)).toHaveLength(at === "published" ? 1 : 0);
    for (const state of before) await later.verify(state);
  },
);

test("a state takes the place of the one that it replaces, and of no other", async () => {
  await using ws = await workspace();
  const old = await ws.put(ws.store, { name: "a" });
  const other = await ws.put(ws.store, { name: "b" });
  await expect(ws.put(ws.store, { name: "a", replaces: other.id })).rejects.toMatchObject({
    code: "already_exists",
  });
  const results = await Promise.allSettled([
    ws.put(ws.store, { name: "a", replaces: old.id }),
    ws.put(ws.store, { name: "a", replaces: old.id }),
  ]);
  expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const { id } = await ws.store.get("a");
  expect((await readdir(ws.directory)).sort()).toEqual([id, other.id].sort());
  expect(id).not.toBe(old.id);
});

test.each(STEPS.filter((step) => step !== "linked"))(
  "an error when it is %s leaves the one that it was to replace",
  async (at) => {
    await using ws = await workspace();
    const old = await ws.put(ws.store, { name: "a" });
    const store = ws.reopen({ onStep: (step) => (step === at ? fail(step) : undefined) });
    await expect(ws.put(store, { name: "a", replaces: old.id })).rejects.toThrow(`fault at ${at}`);
    expect(await readdir(ws.directory)).toEqual([old.id]);
    expect((await store.get("a")).id).toBe(old.id);
  },
);

test("a process that ends between the two leaves the newer, and the older to a sweep", async () => {
  await using ws = await workspace();
  const old = await ws.put(ws.store, { name: "a" });
  const reached = Promise.withResolvers<void>();
  const store = ws.reopen({
    onStep: (step) => {
      if (step !== "published") return;
      reached.resolve();
      return new Promise<void>(() => {});
    },
  });
  void ws.put(store, { name: "a", replaces: old.id });
  await reached.promise;
  const later = ws.reopen();
  const { id } = await later.get("a");
  expect(id).not.toBe(old.id);
  await later.sweep(new Set());
  expect(await readdir(ws.directory)).toEqual([id]);
});

function fail(step: string): never {
  throw new Error(`fault at ${step}`);
}

test("a sweep takes what is half made, what was loaded from, and states without a name that nobody uses", async () => {
  await using ws = await workspace();
  const base = await ws.base(zeros);
  const named = await ws.put(ws.store, { base, name: "kept" });
  const used = await ws.put(ws.store, { base });
  const unused = await ws.put(ws.store, { base });
  await (await ws.store.loadable(named)).release();
  await ws.store.draft();
  await ws.reopen().sweep();
  expect((await readdir(ws.directory)).sort()).toEqual([named.id, used.id, unused.id].sort());
  await ws.reopen().sweep(new Set([used.id]));
  expect((await readdir(ws.directory)).sort()).toEqual([named.id, used.id].sort());
});

test("what does not belong into a state, or is missing from it, is refused", async () => {
  await using ws = await workspace();
  const attempts: [string, (directory: string) => Promise<void>][] = [
    ["is no file of a state", (directory) => writeFile(join(directory, "disks/upper/upper.qcow2"), "")],
    ["is not whole", (directory) => rm(join(directory, "state"))],
    ["is not whole", (directory) => rm(join(directory, "disks/upper/0"))],
    ["ENOENT", (directory) => rm(deltaFiles(directory, 0).pages)],
  ];
  for (const [message, damage] of attempts) {
    const draft = await ws.store.draft();
    const state = await fill(draft, { base: await ws.base(zeros).catch(() => join(ws.folder, "base")) });
    await damage(draft.directory);
    await expect(draft.finish(state, { durable: true })).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining(message),
    });
  }
  expect(await readdir(ws.directory)).toEqual([]);
});

test("storing can be cancelled", async () => {
  await using ws = await workspace();
  const draft = await ws.store.draft();
  const state = await fill(draft, { base: await ws.base(zeros) });
  await expect(draft.finish(state, { durable: true, signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "cancelled",
  });
  expect(await readdir(ws.directory)).toEqual([]);
});
