import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildTar, inChunks, type TestEntry } from "../../tar/tar-builder.test-support.ts";
import { sha256 } from "./digest.ts";
import { ImageStore, importRootfs, newOciImage } from "./index.ts";
import { describeForTest, type Workspace, workspace } from "./workspace.test-support.ts";

const rootfs: TestEntry[] = [{ path: "bin/sh", mode: 0o755, data: Buffer.alloc(10_000, 7) }];
const manifest = sha256("manifest");
const index = sha256("index");

const add = (ws: Workspace, name: string, entries = rootfs) =>
  importRootfs(ws.store, { stream: inChunks(buildTar(entries)), name });

test("an image is found by the digests that its registry knows it by, whatever its tag", async () => {
  await using ws = await workspace();
  using layer = await ws.store.ingestLayer({ source: inChunks(buildTar(rootfs)), what: "test" });
  const config = newOciImage([layer.facts.digest], {}, "test");
  await ws.store.addImage({ config, name: "localhost:5000/app:1", manifestDigest: index });
  const image = await ws.store.addImage({ config, name: `python@${manifest}`, manifestDigest: manifest });
  expect(image).toMatchObject({
    digest: sha256(config),
    names: [`python@${manifest}`, "localhost:5000/app:1"],
    manifestDigests: [`python@${manifest}`, `localhost:5000/app@${index}`],
  });
  expect((await ws.store.get(`python@${manifest}`)).digest).toBe(image.digest);
  expect((await ws.store.get(`localhost:5000/app@${index}`)).digest).toBe(image.digest);
  expect((await ws.store.get(`localhost:5000/app:other@${index}`)).digest).toBe(image.digest);
  for (const other of [`localhost:5000/app@${manifest}`, `localhost:5000/other@${index}`]) {
    await expect(ws.store.get(other)).rejects.toMatchObject({ code: "not_found" });
  }
  await ws.store.setManifestDigest("localhost:5000/app:1", manifest);
  expect((await ws.store.get(`localhost:5000/app@${manifest}`)).digest).toBe(image.digest);
});

test("a tag is another name of the same image, and takes the name from the one that had it", async () => {
  await using ws = await workspace();
  const [a, b] = [await add(ws, "a"), await add(ws, "b", [{ path: "x" }])];
  expect((await ws.store.tag("a", "registry.test:5000/mine:2")).names).toEqual([
    "a",
    "registry.test:5000/mine:2",
  ]);
  expect((await ws.store.tag(b.digest, "a")).digest).toBe(b.digest);
  expect((await ws.store.get("registry.test:5000/mine:2")).digest).toBe(a.digest);
  await expect(ws.store.tag("none", "c")).rejects.toMatchObject({ code: "not_found" });
  await expect(ws.store.tag("a", `c@${manifest}`)).rejects.toMatchObject({ code: "invalid_argument" });
  await expect(ws.store.tag("a", "Not Good")).rejects.toMatchObject({ code: "invalid_argument" });
});

test("configurations must be those of layers that are here", async () => {
  await using ws = await workspace();
  await expect(
    ws.store.addImage({ config: newOciImage([sha256("missing")], {}, "test"), name: "a" }),
  ).rejects.toMatchObject({ code: "internal", message: expect.stringMatching(/missing/) });
  await expect(ws.store.addImage({ config: newOciImage([], {}, "test") })).rejects.toMatchObject({
    code: "invalid_argument",
  });
  await expect(ws.store.addImage({ config: Buffer.from("{}") })).rejects.toMatchObject({
    code: "invalid_argument",
  });
  expect(await ws.store.list()).toEqual([]);
});

test("the quota holds while a layer streams in, and what is freed can be used again", async () => {
  await using ws = await workspace();
  let quota: number | undefined = 300_000;
  const store = await ImageStore.open({
    directory: join(ws.path, "small"),
    describeDisk: describeForTest,
    quotaBytes: () => quota,
  });
  const take = (name: string, bytes: number) =>
    importRootfs(store, {
      stream: inChunks(buildTar([{ path: name, data: Buffer.alloc(bytes, name) }])),
      name,
    });
  await take("a", 150_000);
  await expect(take("b", 2_000_000)).rejects.toMatchObject({
    code: "resource_exhausted",
    message: expect.stringMatching(/300000 bytes/),
    hint: expect.stringMatching(/prune/),
  });
  expect(await readdir(join(ws.path, "small/incoming"))).toEqual([]);
  expect(await readdir(join(ws.path, "small/blobs"))).toHaveLength(1);
  await expect(take("c", 200_000)).rejects.toMatchObject({ code: "resource_exhausted" });
  await store.remove("a");
  await store.sweep({ inUse: [] });
  await take("c", 200_000);

  const again = await ImageStore.open({
    directory: join(ws.path, "small"),
    describeDisk: describeForTest,
    quotaBytes: () => quota,
  });
  const usage = await again.usage({ inUse: [] });
  expect(usage).toMatchObject({ quotaBytes: 300_000, images: { count: 1 }, layers: { count: 1 } });
  expect(usage.totalBytes).toBeGreaterThan(200_000);
  quota = undefined;
  await take("d", 2_000_000);
});

test("usage tells what could be freed, and counts what images share once", async () => {
  await using ws = await workspace();
  const other = await ws.store.ingestLayer({
    source: inChunks(buildTar([{ path: "cache" }])),
    what: "cache",
  });
  const store = await ImageStore.open({
    directory: join(ws.path, "images"),
    describeDisk: describeForTest,
    otherLayers: async () => [other.facts.digest],
  });
  other[Symbol.dispose]();
  const used = await importRootfs(store, { stream: inChunks(buildTar(rootfs)), name: "used" });
  await importRootfs(store, { stream: inChunks(buildTar(rootfs)), name: "same", config: { cmd: ["x"] } });
  const usage = await store.usage({ inUse: [used.digest] });
  expect(usage.images.count).toBe(2);
  expect(usage.layers.count).toBe(2);
  expect(usage.other.count).toBe(1);
  // The layer is the used one's; only the other's own disk could go.
  expect(usage.images.reclaimableBytes).toBeGreaterThan(0);
  expect(usage.images.reclaimableBytes).toBeLessThan(12_288);
  await store.sweep({ inUse: [] });
  expect((await store.usage({ inUse: [] })).other.count).toBe(1);
});

test("an image without a name stays while it is held", async () => {
  await using ws = await workspace();
  const layer = await ws.store.ingestLayer({ source: inChunks(buildTar(rootfs)), what: "test" });
  const config = newOciImage([layer.facts.digest], {}, "test");
  const hold = ws.store.hold(sha256(config));
  const image = await ws.store.addImage({ config });
  layer[Symbol.dispose]();
  await ws.store.sweep({ inUse: [] });
  expect(image.names).toEqual([]);
  await ws.store.rootDisk(image.digest);
  hold[Symbol.dispose]();
  await ws.store.sweep({ inUse: [] });
  await expect(ws.store.get(image.digest)).rejects.toMatchObject({ code: "not_found" });
  await rm(join(ws.path, "images"), { recursive: true });
});
