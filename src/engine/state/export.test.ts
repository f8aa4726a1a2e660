import { randomBytes } from "node:crypto";
import { readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { Decrypter } from "age-encryption";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { inChunks } from "../../tar/tar-builder.test-support.ts";
import {
  applied,
  bytesOf,
  memoryOf,
  page,
  type Workspace,
  workspace,
  writeSparse,
} from "./state.test-support.ts";
import type { StoredState } from "./verify.ts";

const MIB = 1024 ** 2;
const zeros = Array.from({ length: 40 }, () => 0);
const changes = new Map([
  [3, 1],
  [39, 2],
]);

async function exported(ws: Workspace, state: StoredState, passphrase?: string): Promise<Buffer> {
  return buffer(await ws.store.export(state, { passphrase }));
}

/** These states are there, and nothing else. */
async function expectOnly(ws: Workspace, states: StoredState[]): Promise<void> {
  expect((await readdir(ws.directory)).sort()).toEqual(states.map(({ id }) => id).sort());
}

test("a state comes in elsewhere as it went out, and all of it is its own there", async () => {
  await using here = await workspace();
  await using there = await workspace();
  const first = await here.put(here.store, { base: await here.base(zeros), changes });
  const state = await here.put(here.store, {
    from: first,
    changes: new Map([[5, 9]]),
    name: "s",
    generation: 2,
  });
  const archive = await exported(here, state);
  const copies = [
    await there.store.import(inChunks(archive, 1000)),
    await there.store.import(Readable.from([archive]), { name: "again" }),
  ];
  for (const [i, copy] of copies.entries()) {
    const { id, name, bytes, ...rest } = copy.manifest;
    const { id: _id, name: _name, bytes: _bytes, ...expected } = state.manifest;
    expect(rest).toEqual(expected);
    expect({ id, name }).toEqual({ id: copy.id, name: ["s", "again"][i] });
    expect(bytes.memory).toBeGreaterThan(state.manifest.bytes.memory);
    expect(
      (await memoryOf(there.reopen(), copy)).equals(
        bytesOf(applied(applied(zeros, changes), new Map([[5, 9]]))),
      ),
    ).toBe(true);
    for (const { path } of state.manifest.files) {
      const [ours, theirs] = [join(copy.directory, path), join(state.directory, path)];
      expect((await readFile(ours)).equals(await readFile(theirs)), path).toBe(true);
      expect((await stat(ours)).mode & 0o777, path).toBe(path.startsWith("disks/") ? 0o444 : 0o400);
    }
    expect((await stat(copy.directory)).mode & 0o777).toBe(0o700);
  }
  expect(new Set(copies.map(({ id }) => id)).size).toBe(2);
  await expect(there.store.import(inChunks(archive))).rejects.toMatchObject({ code: "already_exists" });
  await there.reopen().sweep();
  await expectOnly(there, copies);
});

test("whatever is in a state", async () => {
  await using ws = await workspace();
  const disk = fc.string({ unit: "binary", maxLength: 3000 });
  const pages = fc.array(fc.tuple(fc.nat(39), fc.nat(255)), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(
      disk,
      pages,
      fc.json(),
      fc.integer({ min: 1, max: 5000 }),
      async (disk, entries, record, chunk) => {
        const base = await ws.base(zeros).catch(() => join(ws.folder, "base"));
        const state = await ws.put(ws.store, {
          base,
          disk,
          changes: new Map(entries),
          record: JSON.parse(record),
        });
        const copy = await ws.store.import(inChunks(await exported(ws, state), chunk));
        expect(copy.manifest.record).toEqual(state.manifest.record);
        expect(copy.manifest.files).toEqual(state.manifest.files);
        await ws.store.verify(copy);
        await ws.store.remove(copy.id);
        await ws.store.remove(state.id);
      },
    ),
    { numRuns: 25 },
  );
});

test("holes stay holes on the way", async () => {
  await using ws = await workspace();
  const base = join(ws.folder, "sparse");
  await writeSparse(
    base,
    200 * MIB,
    new Map([
      [90 * MIB, page(7)],
      [200 * MIB - 4096, page(8)],
    ]),
  );
  const state = await ws.put(ws.store, { base, changes });
  const archive = await exported(ws, state);
  expect(archive.length).toBeLessThan(100_000);
  const copy = await ws.store.import(inChunks(archive));
  const { size, blocks } = await stat(join(copy.directory, "base"));
  expect(size).toBe(200 * MIB);
  expect(blocks * 512).toBeLessThan(4 * MIB);
  await ws.reopen().verify(copy);
});

test("a state that is damaged, or was made to be used once, is not exported", async () => {
  await using ws = await workspace();
  const base = await ws.base(zeros);
  const fork = await ws.put(ws.store, { base, durable: false });
  await expect(ws.store.export(fork)).rejects.toMatchObject({ code: "invalid_state" });
  const state = await ws.put(ws.store, { base });
  await rm(join(state.directory, "state"));
  await writeFile(join(state.directory, "state"), "other");
  await expect(ws.store.export(state)).rejects.toMatchObject({
    code: "internal",
    message: expect.stringContaining("state has"),
  });
});

/** Descriptors that this process has below the folder. */
async function openBelow(folder: string): Promise<string[]> {
  const descriptors = await readdir("/proc/self/fd");
  const targets = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
  return targets.filter((target) => target.startsWith(folder));
}

test.each([undefined, "secret"])(
  "an export that is left, removed from below or cancelled lets go of its files (%s)",
  async (passphrase) => {
    await using ws = await workspace();
    // More than fits into what is between the files and whoever reads.
    const base = join(ws.folder, "large");
    await writeFile(base, randomBytes(8 * MIB));
    const state = await ws.put(ws.store, { base, changes, name: "s" });
    const warnings: string[] = [];
    process.on("warning", ({ message }) => warnings.push(message));
    const unread = (await ws.store.export(state, { passphrase })) as Readable;
    expect((await openBelow(ws.directory)).length).toBeGreaterThan(0);
    unread.destroy();
    await expect.poll(() => openBelow(ws.directory)).toEqual([]);

    const stop = new AbortController();
    const cancelled = await ws.store.export(state, { passphrase, signal: stop.signal });
    stop.abort();
    await expect(buffer(cancelled)).rejects.toMatchObject({ code: "cancelled" });
    await expect.poll(() => openBelow(ws.directory)).toEqual([]);

    const going = await ws.store.export(state, { passphrase });
    await ws.store.remove("s");
    await ws.store.import(going, { passphrase });
    await expect.poll(() => openBelow(ws.directory)).toEqual([]);
    // What nobody closed is closed one day, which is not in order.
    expect(warnings.filter((message) => /garbage collection/.test(message))).toEqual([]);
  },
);

test("with a passphrase it is a file of age, which only that opens", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { base: await ws.base(zeros), changes });
  const [plain, archive] = [await exported(ws, state), await exported(ws, state, "correct horse")];
  expect(archive.includes(plain.subarray(0, 64))).toBe(false);
  const theirs = new Decrypter();
  theirs.addPassphrase("correct horse");
  expect(Buffer.from(await theirs.decrypt(new Uint8Array(archive))).equals(plain)).toBe(true);

  const copy = await ws.store.import(inChunks(archive, 777), { passphrase: "correct horse" });
  await ws.store.verify(copy);
  const refusals = [
    [archive, "wrong", "unauthenticated", "passphrase is wrong"],
    [archive, undefined, "unauthenticated", "is encrypted"],
    [plain, "correct horse", "invalid_argument", "is not encrypted"],
  ] as const;
  for (const [bytes, passphrase, code, message] of refusals) {
    await expect(ws.store.import(inChunks(bytes), { passphrase })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  }
  await expectOnly(ws, [state, copy]);
});

test("a stalled import ends when it is cancelled", async () => {
  await using ws = await workspace();
  const state = await ws.put(ws.store, { base: await ws.base(zeros) });
  const archive = await exported(ws, state);
  const stop = new AbortController();
  const stalled = new Readable({ read() {} });
  stalled.push(archive.subarray(0, 300));
  const importing = ws.store.import(stalled, { signal: stop.signal });
  stop.abort();
  await expect(importing).rejects.toMatchObject({ code: "cancelled" });
  await expectOnly(ws, [state]);
});
