import { readdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { applied, bytesOf, memoryOf, workspace } from "./state.test-support.ts";
import type { StoredState } from "./verify.ts";

const zeros = Array.from({ length: 300 }, () => 0);
const changes = new Map([
  [7, 1],
  [8, 2],
  [299, 3],
]);

async function replace(state: StoredState, path: string, bytes: Uint8Array): Promise<void> {
  const file = join(state.directory, path);
  await rm(file);
  await writeFile(file, bytes);
}

/** Both ways to it say which file it is, and nothing is left to load from. */
async function expectDamaged(ws: Awaited<ReturnType<typeof workspace>>, state: StoredState, path: string) {
  const refusal = { code: "internal", message: expect.stringContaining(path) };
  const fresh = ws.reopen();
  await expect(
    fresh.get(state.id).then((found) => fresh.verify(found)),
    path,
  ).rejects.toMatchObject(refusal);
  await expect(
    fresh.get(state.id).then((found) => fresh.loadable(found)),
    path,
  ).rejects.toMatchObject(refusal);
  await expect(ws.store.verify(state), path).rejects.toMatchObject(refusal);
  expect((await readdir(ws.directory)).filter((name) => name.endsWith(".memory"))).toEqual([]);
}

test("a file that is flipped anywhere, cut, grown or gone is found and named, and the whole one is fine again", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { base: await ws.base(zeros), name: "s", changes });
  for (const path of [...state.manifest.files.map((file) => file.path), "manifest.json"]) {
    const good = await readFile(join(state.directory, path));
    const ranges = Math.min(24, good.length);
    for (let range = 0; range < ranges; range++) {
      const bad = Buffer.from(good);
      const from = Math.floor((range * good.length) / ranges);
      const to = Math.floor(((range + 1) * good.length) / ranges);
      // One byte of each range, another one in each.
      bad[from + ((range * 7919) % (to - from))]! ^= 1 << (range % 8);
      await replace(state, path, bad);
      await expectDamaged(ws, state, path);
    }
    for (const bad of [good.subarray(0, -1), Buffer.concat([good, Buffer.alloc(1)]), Buffer.alloc(0)]) {
      await replace(state, path, bad);
      await expectDamaged(ws, state, path);
    }
    await rm(join(state.directory, path));
    await expectDamaged(ws, state, path);
    await writeFile(join(state.directory, path), good);
    await ws.reopen().verify(state);
  }
  expect((await memoryOf(ws.reopen(), state)).equals(bytesOf(applied(zeros, changes)))).toBe(true);
});

test("every byte of a manifest counts, the blanks too", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { name: "s" });
  const good = await readFile(join(state.directory, "manifest.json"));
  for (let at = 0; at < good.length; at++) {
    const bad = Buffer.from(good);
    bad[at]! ^= 1 << (at % 8);
    await replace(state, "manifest.json", bad);
    await expect(ws.store.get(state.id), `byte ${at}`).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("manifest.json"),
    });
  }
  expect(await ws.store.list()).toEqual([]);
  // What cannot be read can be removed.
  await ws.store.remove(state.id);
});

test("files that two states have exchanged are found", async () => {
  await using ws = await workspace();
  const base = await ws.base(zeros);
  const one = await ws.put(ws.store, { base, changes });
  const other = await ws.put(ws.store, {
    base,
    changes: new Map([
      [7, 9],
      [8, 9],
      [299, 9],
    ]),
  });
  const swap = async (path: string) => {
    const [a, b, between] = [
      join(one.directory, path),
      join(other.directory, path),
      join(ws.folder, "between"),
    ];
    await rename(a, between);
    await rename(b, a);
    await rename(between, b);
  };
  for (const path of ["state", "delta/0.pages", "disks/upper/1", "manifest.json"]) {
    await swap(path);
    await expectDamaged(ws, one, path);
    await expectDamaged(ws, other, path);
    await swap(path);
  }
  await ws.store.verify(one);
  await rename(one.directory, join(ws.folder, "between"));
  await rename(other.directory, one.directory);
  await expectDamaged(ws, one, `manifest.json is that of state ${other.id}`);
});

test("a state that has been checked is checked again once a file of it was written to", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { base: await ws.base(zeros), changes });
  await (await ws.store.loadable(state)).release();
  const store = ws.reopen();
  await store.verify(state);
  await replace(state, "delta/0.pages", Buffer.alloc(3 * 4096, 0xee));
  // Its memory is made already in this store, but its disks are not in that.
  await expect(ws.store.loadable(state)).rejects.toMatchObject({
    message: expect.stringContaining("delta/0.pages"),
  });
  await expect(ws.store.ensureWhole(state)).rejects.toMatchObject({ code: "internal" });
  await expect(store.loadable(state)).rejects.toMatchObject({
    message: expect.stringContaining("delta/0.pages"),
  });
});

test("what a state shares with the one below counts with the sum that was taken first", async () => {
  await using ws = await workspace();
  const first = await ws.put(ws.store, { base: await ws.base(zeros), changes, name: "first" });
  await replace(first, "delta/0.pages", Buffer.alloc(3 * 4096, 0xee));
  const second = await ws.put(ws.store, { from: first, changes: new Map([[1, 1]]) });
  await expect(ws.reopen().verify(second)).rejects.toMatchObject({
    message: expect.stringContaining("delta/0.pages has changed"),
  });
});

test("of a state that is used once, which has no sums, the sizes are compared", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { base: await ws.base(zeros), changes, durable: false });
  await ws.store.verify(state);
  await replace(state, "delta/0.pages", Buffer.alloc(2 * 4096));
  await expect(ws.store.loadable(state)).rejects.toMatchObject({ code: "internal" });
  await expect(ws.store.verify(state)).rejects.toMatchObject({
    message: expect.stringContaining("delta/0.pages has 8192 bytes"),
  });
});

test("a manifest is read again when a state is verified, though it looks as it did", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { name: "s" });
  const path = join(state.directory, "manifest.json");
  await ws.store.get("s");
  const { atime, mtime } = await stat(path);
  // Times with whole milliseconds can be given back.
  await utimes(path, atime, mtime);
  await ws.store.get("s");
  const bad = (await readFile(path, "utf8")).replace('"s"', '"t"');
  await writeFile(path, bad);
  await utimes(path, atime, mtime);
  await expect(ws.store.verify(state)).rejects.toMatchObject({
    message: expect.stringContaining("manifest.json"),
  });
});

test("a manifest without end is not read", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, {});
  await truncate(join(state.directory, "manifest.json"), 2 ** 40);
  await expect(ws.store.get(state.id)).rejects.toMatchObject({
    message: expect.stringContaining("manifest.json is too long"),
  });
});
