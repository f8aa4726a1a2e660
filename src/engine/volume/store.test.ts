import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cutWritesShort, failWrites } from "../disk/short-writes.test-support.ts";
import { VolumeStore } from "./store.ts";

const MIB = 1024 ** 2;
let folder: string;
let directory: string;
let store: VolumeStore;
let blank: Buffer;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-volumes-"));
  directory = join(folder, "volumes");
  await mkdir(directory);
  // Something at both ends and zeroes between.
  blank = Buffer.alloc(3 * MIB + 4096);
  blank.write("first", 1024);
  blank.write("last", blank.length - 4);
  await writeFile(join(folder, "blank"), blank);
  const file = join(folder, "blank");
  store = new VolumeStore({ directory, blank: async () => ({ file, sizeBytes: 8 * MIB }) });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("a volume begins as the blank disk, has the size asked for, and takes no more room than what is in it", async () => {
  const { file, ...volume } = await store.create("data", 16);
  expect(volume).toMatchObject({ name: "data", sizeMiB: 16 });
  const disk = await readFile(file);
  expect(disk.length).toBe(16 * MIB);
  expect(disk.subarray(0, blank.length).equals(blank)).toBe(true);
  expect(disk.subarray(blank.length).every((byte) => byte === 0)).toBe(true);
  expect(volume.usedBytes).toBeLessThan(MIB);
  expect((await stat(file)).blocks * 512).toBe(volume.usedBytes);
});

test("names are taken once, also at the same moment, and nothing half-made stays", async () => {
  const results = await Promise.allSettled([store.create("data", 16), store.create("data", 16)]);
  expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  await expect(store.create("data", 16)).rejects.toMatchObject({ code: "already_exists" });
  await expect(store.create("small", 4)).rejects.toMatchObject({ code: "invalid_argument" });
  expect(await readdir(directory)).toEqual(["data"]);
});

test("a failed create leaves nothing", async () => {
  const broken = new VolumeStore({
    directory,
    blank: async () => ({ file: join(folder, "nowhere"), sizeBytes: MIB }),
  });
  await expect(broken.create("data", 16)).rejects.toThrow("ENOENT");
  expect(await readdir(directory)).toEqual([]);
});

test.each(["ENOSPC", "EDQUOT"])(
  "a disk that is full (%s) is said to be so, and leaves nothing",
  async (code) => {
    await using _ = await failWrites(code);
    await expect(store.create("data", 16)).rejects.toMatchObject({
      code: "resource_exhausted",
      message: "the disk is full: making volume 'data' failed",
    });
    expect(await readdir(directory)).toEqual([]);
  },
);

test("writes that are cut short are gone on with", async () => {
  await using _ = await cutWritesShort();
  const { file } = await store.create("data", 16);
  expect((await readFile(file)).subarray(0, blank.length).equals(blank)).toBe(true);
});

test("a copy that is cancelled leaves nothing", async () => {
  const { signal } = new AbortController();
  expect(await store.createFrom("copied", join(folder, "blank"), { signal })).toMatchObject({ sizeMiB: 4 });
  const cancelled = store.createFrom("data", join(folder, "blank"), { signal: AbortSignal.abort() });
  await expect(cancelled).rejects.toMatchObject({ code: "cancelled" });
  expect(await readdir(directory)).toEqual(["copied"]);
});

test("lists those that are whole, and sweeps what was cut off", async () => {
  await store.create("b", 16);
  await store.create("a", 16);
  await mkdir(join(directory, ".0123"));
  await mkdir(join(directory, "damaged"));
  expect((await store.list()).map(({ name }) => name)).toEqual(["a", "b"]);
  await expect(store.get("damaged")).rejects.toMatchObject({ code: "internal" });
  await store.sweep();
  expect((await readdir(directory)).sort()).toEqual(["a", "b", "damaged"]);
});

test("removing is at once for those who look", async () => {
  await store.create("data", 16);
  const removing = store.remove("data");
  expect(await store.exists("data")).toBe(false);
  await removing;
  expect(await readdir(directory)).toEqual([]);
  expect(() => store.remove("data")).toThrow(expect.objectContaining({ code: "not_found" }));
  await expect(store.get("data")).rejects.toMatchObject({ code: "not_found" });
});

test("no name leads out of the folder", async () => {
  await expect(store.get("../x")).rejects.toThrow();
  expect(() => store.remove("../x")).toThrow();
});
