import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { buildTar, inChunks, type TestEntry } from "../../tar/tar-builder.test-support.ts";
import { ImageStore, importRootfs } from "./index.ts";
import { describeForTest, openDisk, type Workspace, workspace } from "./workspace.test-support.ts";

const rootfs: TestEntry[] = [
  { path: "etc/os-release", data: Buffer.from("NAME=test\n") },
  { path: "bin/sh", mode: 0o755, data: Buffer.alloc(10_000, 7) },
];

const add = (ws: Workspace, name: string, entries = rootfs) =>
  importRootfs(ws.store, { stream: inChunks(buildTar(entries)), name, config: { cmd: ["/bin/sh"] } });

async function filesBelow(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

test("an imported image is found by name and by digest and has a disk that others can read", async () => {
  await using ws = await workspace();
  const previous = process.umask(0o077);
  try {
    const image = await add(ws, "msb/test");
    expect(image).toMatchObject({
      names: ["msb/test"],
      config: { cmd: ["/bin/sh"], workdir: "/" },
      sizeBytes: 16_384,
    });
    expect(await ws.store.get("msb/test:latest")).toEqual(image);
    expect(await ws.store.get(image.digest)).toEqual(image);
    expect(await ws.store.list()).toEqual([image]);
    const disk = await ws.store.rootDisk(image.digest);
    expect(await filesBelow(disk.directory)).toEqual(["blob-000", "disk.json", "meta.erofs", "root.vmdk"]);
    for (const file of await readdir(disk.directory)) {
      expect((await stat(join(disk.directory, file))).mode & 0o777, file).toBe(0o444);
    }
    expect((await stat(disk.directory)).mode & 0o777).toBe(0o755);
    expect((await stat(join(disk.directory, "blob-000"))).nlink).toBe(2);
    using reader = openDisk(disk);
    expect(reader.content(reader.at("etc/os-release")!).toString()).toBe("NAME=test\n");
  } finally {
    process.umask(previous);
  }
});

test("the store is the same after it is opened again", async () => {
  await using ws = await workspace();
  const image = await add(ws, "python:3.12");
  const again = await ImageStore.open({ directory: join(ws.path, "images"), describeDisk: describeForTest });
  expect(await again.list()).toEqual([image]);
});

test("the same layer is stored once, and the same image has the same digest", async () => {
  await using ws = await workspace();
  const [a, b] = await Promise.all([add(ws, "a"), add(ws, "b")]);
  const c = await importRootfs(ws.store, { stream: inChunks(buildTar(rootfs)), name: "c" });
  expect(a!.digest).toBe(b!.digest);
  expect(c.digest).not.toBe(a!.digest); // another configuration
  expect(await readdir(join(ws.path, "images/blobs"))).toHaveLength(1);
  expect((await ws.store.get("a")).names).toEqual(["a", "b"]);
});

test("an unknown image is named, and so are those that there are", async () => {
  await using ws = await workspace();
  await expect(ws.store.get("nope")).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringMatching(/"nope"/),
    hint: expect.stringMatching(/no images yet/),
  });
  await add(ws, "msb/python");
  for (const ask of [
    () => ws.store.get("nope"),
    () => ws.store.rootDisk("nope"),
    () => ws.store.remove("nope"),
  ]) {
    await expect(ask()).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringMatching(/"nope"/),
      hint: expect.stringMatching(/msb\/python/),
    });
  }
  const unknown = `sha256:${"0".repeat(64)}`;
  await expect(ws.store.rootDisk(unknown)).rejects.toMatchObject({ code: "not_found" });
  await expect(ws.store.get("No/Good")).rejects.toMatchObject({ code: "invalid_argument" });
});

test("ten callers get one disk, made once", async () => {
  await using ws = await workspace();
  const { digest } = await add(ws, "a");
  await rm(join(ws.path, "images/disks"), { recursive: true });
  await mkdir(join(ws.path, "images/disks"));
  const disks = await Promise.all(Array.from({ length: 10 }, () => ws.store.rootDisk(digest)));
  expect(new Set(disks.map(({ directory }) => directory)).size).toBe(1);
  expect(await readdir(join(ws.path, "images/disks"))).toHaveLength(1);
  expect(await readdir(join(ws.path, "images/incoming"))).toEqual([]);
});

test("a damaged disk is recognized, and what the hint says mends it", async () => {
  await using ws = await workspace();
  await add(ws, "a");
  const { directory } = await ws.store.rootDisk("a");
  const damages: (() => Promise<unknown>)[] = [
    () => rm(join(directory, "meta.erofs")),
    () => chmod(join(directory, "root.vmdk"), 0o644).then(() => truncate(join(directory, "root.vmdk"), 3)),
    () => rm(join(directory, "blob-000")),
    () => rm(join(directory, "disk.json")),
    () => chmod(join(directory, "disk.json"), 0o644).then(() => writeFile(join(directory, "disk.json"), "{")),
  ];
  for (const damage of damages) {
    await damage();
    await expect(ws.store.rootDisk("a")).rejects.toMatchObject({
      code: "internal",
      message: expect.stringMatching(/damaged/),
      hint: expect.stringContaining(`Delete ${directory}`),
    });
    await rm(directory, { recursive: true });
    await ws.store.rootDisk("a");
  }
});

test("a damaged index or manifest is internal and does not hide other images", async () => {
  await using ws = await workspace();
  const bad = await add(ws, "bad", [{ path: "x", data: Buffer.from("x") }]);
  await add(ws, "good");
  const index = join(ws.path, "images/trees", bad.layers[0]!.digest.slice(7));
  await chmod(index, 0o644);
  await rm((await ws.store.rootDisk("bad")).directory, { recursive: true });
  await truncate(index, (await stat(index)).size - '"end"\n'.length);
  await expect(ws.store.rootDisk("bad")).rejects.toMatchObject({
    code: "internal",
    message: expect.stringMatching(/index/),
  });
  await truncate(index, (await stat(index)).size - 9);
  await expect(ws.store.rootDisk("bad")).rejects.toMatchObject({
    code: "internal",
    message: expect.stringMatching(/index/),
  });
  await writeFile(join(ws.path, "images/configs", bad.digest.slice(7)), "{}");
  await expect(ws.store.get("bad")).rejects.toMatchObject({
    code: "internal",
    message: expect.stringMatching(/configuration/),
  });
  expect((await ws.store.list()).flatMap(({ names }) => names)).toEqual(["good"]);
});

test("a refused archive leaves the store as it was", async () => {
  await using ws = await workspace({ maxLayerBytes: 100_000, maxEntries: 50 });
  await add(ws, "a");
  const before = await filesBelow(join(ws.path, "images"));
  const cases: [TestEntry[], string][] = [
    [[...rootfs, { path: "x", typeflag: "1", linkTarget: "missing" }], "missing"],
    [[...rootfs, { path: "big", data: Buffer.alloc(200_000) }], "larger than 100000"],
    [Array.from({ length: 51 }, (_, i) => ({ path: `f${i}` })), "f50"],
    [[], "empty"],
    [[{ path: "d", typeflag: "3", device: [5000, 1] }], '"d"'],
  ];
  for (const [entries, message] of cases) {
    await expect(add(ws, "b", entries)).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(message),
    });
  }
  await expect(add(ws, "Bad Name")).rejects.toMatchObject({ code: "invalid_argument" });
  await ws.store.sweep({ inUse: [] });
  expect(await filesBelow(join(ws.path, "images"))).toEqual(before);
});

test("an import can be cancelled, also when its source has stalled", async () => {
  await using ws = await workspace();
  const abort = new AbortController();
  const stalled = (async function* () {
    yield buildTar(rootfs).subarray(0, 600);
    abort.abort();
    await delay(3_600_000, undefined, { ref: false });
  })();
  await expect(
    importRootfs(ws.store, { stream: stalled, name: "a", signal: abort.signal }),
  ).rejects.toMatchObject({
    code: "cancelled",
  });
  await expect(
    importRootfs(ws.store, { stream: inChunks(buildTar(rootfs)), name: "a", signal: AbortSignal.abort() }),
  ).rejects.toMatchObject({ code: "cancelled" });
  expect(await filesBelow(join(ws.path, "images"))).toEqual([]);
  expect(await readdir(join(ws.path, "images/incoming"))).toEqual([]);
});

test("a sweep frees what nothing refers to, and only that", async () => {
  await using ws = await workspace();
  const kept = await add(ws, "kept");
  const used = await add(ws, "used", [{ path: "u", data: Buffer.from("u") }]);
  const replaced = await add(ws, "x", [{ path: "r", data: Buffer.alloc(50_000, 1) }]);
  await add(ws, "x", rootfs);
  await ws.store.remove("used");
  await mkdir(join(ws.path, "images/incoming/leftover"));
  await writeFile(join(ws.path, "images/incoming/leftover/blob"), "half");
  const report = await ws.store.sweep({ inUse: [used.digest] });
  expect(report).toMatchObject({ images: 1, layers: 1, disks: 1 });
  expect(report.freedBytes).toBeGreaterThan(50_000);
  await expect(ws.store.get(replaced.digest)).rejects.toMatchObject({ code: "not_found" });
  expect((await ws.store.list()).map(({ digest }) => digest).sort()).toEqual(
    [kept.digest, used.digest].sort(),
  );
  expect(await readdir(join(ws.path, "images/incoming"))).toEqual([]);
  await ws.store.rootDisk(used.digest);
  await ws.store.remove(kept.digest);
  await ws.store.sweep({ inUse: [] });
  expect(await filesBelow(join(ws.path, "images"))).toEqual([]);
});

test("imports beside sweeps lose nothing", async () => {
  await using ws = await workspace();
  const jobs = Array.from({ length: 20 }, async (_, i) => {
    await add(ws, `image-${i}`, [{ path: `f${i}`, data: Buffer.alloc(5000, i) }]);
    await ws.store.sweep({ inUse: [] });
  });
  await Promise.all(jobs);
  const images = await ws.store.list();
  expect(images).toHaveLength(20);
  // Disks hold on to their blobs; made anew, they need the layers.
  await rm(join(ws.path, "images/disks"), { recursive: true });
  await mkdir(join(ws.path, "images/disks"));
  for (const { digest } of images) {
    using reader = openDisk(await ws.store.rootDisk(digest));
    expect(reader.walk().size).toBe(1);
  }
});

test("a sweep leaves alone what an import is just about to name", async () => {
  await using ws = await workspace();
  let sweep: Promise<unknown> | undefined;
  await importRootfs(ws.store, {
    stream: inChunks(buildTar(rootfs)),
    name: "a",
    onProgress: ({ phase }) => {
      if (phase === "disk") sweep = ws.store.sweep({ inUse: [] });
    },
  });
  await sweep;
  await rm((await ws.store.rootDisk("a")).directory, { recursive: true });
  using reader = openDisk(await ws.store.rootDisk("a"));
  expect(reader.walk().size).toBe(4);
});

test("an index that points beyond its blob is found out", async () => {
  await using ws = await workspace();
  const { layers } = await add(ws, "a");
  const index = join(ws.path, "images/trees", layers[0]!.digest.slice(7));
  await chmod(index, 0o644);
  await writeFile(index, (await readFile(index, "utf8")).replace('"block":1', '"block":2'));
  await rm((await ws.store.rootDisk("a")).directory, { recursive: true });
  await expect(ws.store.rootDisk("a")).rejects.toMatchObject({
    code: "internal",
    message: expect.stringMatching(/does not fit its blob/),
  });
});

test("progress goes through both phases", async () => {
  await using ws = await workspace();
  const seen: { phase: string; bytes: number; entries: number }[] = [];
  const entries = Array.from({ length: 600 }, (_, i) => ({ path: `f${i}`, data: Buffer.alloc(100) }));
  const archive = buildTar(entries);
  await importRootfs(ws.store, {
    stream: inChunks(archive),
    name: "a",
    onProgress: (progress) => seen.push(progress),
  });
  expect(seen.map(({ phase }) => phase)).toEqual(["ingest", "ingest", "ingest", "disk"]);
  expect(seen.at(-1)).toMatchObject({ bytes: archive.length, entries: 600 });
});

test("killed at any moment, an import leaves nothing that counts", async () => {
  await using ws = await workspace();
  const script = `
    import { ImageStore, importRootfs } from ${JSON.stringify(import.meta.resolve("./index.ts"))};
    const store = await ImageStore.open({ directory: process.argv[1], describeDisk: (e) => JSON.stringify(e) });
    process.stdout.write("ready");
    const chunk = Buffer.alloc(65536, 1);
    const header = Buffer.from(process.argv[2], "base64");
    async function* endless() { yield header; for (;;) yield chunk; }
    await importRootfs(store, { stream: endless(), name: "half" });`;
  const header = buildTar([{ path: "huge", size: 2 ** 33 - 1 }])
    .subarray(0, 512)
    .toString("base64");
  const directory = join(ws.path, "images");
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, directory, header], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout!, "data");
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await delay(5)) {
    const [folder] = await readdir(join(directory, "incoming"));
    const blob = folder && (await stat(join(directory, "incoming", folder, "blob")).catch(() => undefined));
    if (blob && blob.size > 0) break;
  }
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await readdir(join(directory, "incoming"))).toHaveLength(1);
  expect(await ws.store.list()).toEqual([]);
  await ws.store.sweep({ inUse: [] });
  expect(await filesBelow(directory)).toEqual([]);
  expect(await readdir(join(directory, "incoming"))).toEqual([]);
});
