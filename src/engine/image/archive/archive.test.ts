import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import type { ArchiveFormat } from "../../../contract/images.ts";
import { buildTar, inChunks, type TestEntry } from "../../../tar/tar-builder.test-support.ts";
import { sha256 } from "../digest.ts";
import { type ImageStore, importRootfs, newOciImage } from "../index.ts";
import { type Workspace, workspace } from "../workspace.test-support.ts";
import { loadImages } from "./load.ts";
import { saveImages } from "./save.ts";

const lower: TestEntry[] = [
  { path: "bin/sh", mode: 0o755, data: Buffer.alloc(300_000, "sh") },
  { path: "etc/x", data: Buffer.from("x") },
];
const upper: TestEntry[] = [{ path: ".wh.etc" }, { path: "new", data: Buffer.from("n") }];

/** Two images that share their lower layer. */
async function twoImages(ws: Workspace) {
  const take = (entries: TestEntry[]) =>
    ws.store.ingestLayer({ source: inChunks(buildTar(entries)), what: "test" });
  using a = await take(lower);
  using b = await take(upper);
  const [one, two] = [a.facts.digest, b.facts.digest];
  const config = { cmd: ["/bin/sh"], env: ["A=b"] };
  const first = await ws.store.addImage({ config: newOciImage([one], config, "test"), name: "one" });
  const second = await ws.store.addImage({
    config: newOciImage([one, two], config, "test"),
    name: "host.test:5000/two:2",
  });
  return { first, second };
}

async function saved(store: ImageStore, names: string[], format: ArchiveFormat): Promise<Buffer> {
  const pieces = await Array.fromAsync(await saveImages(store, { names, format }));
  return Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
}

test.each(["oci", "docker"] as const)("what is saved as %s is loaded as it was", async (format) => {
  await using ws = await workspace();
  const { first, second } = await twoImages(ws);
  const archive = await saved(ws.store, ["one", "host.test:5000/two:2", "one:latest"], format);
  for (const bytes of [archive, gzipSync(archive)]) {
    await using other = await workspace();
    const loaded = await loadImages(other.store, { source: inChunks(bytes, 10_000) });
    expect(loaded.map(({ name, image }) => [name, image.digest])).toEqual([
      ["one", first.digest],
      ["host.test:5000/two:2", second.digest],
    ]);
    const { namedAtMs: _, ...expected } = second;
    expect(await other.store.get("host.test:5000/two:2")).toMatchObject(expected);
    expect((await other.store.usage({ inUse: [] })).layers.count).toBe(2);
    await using tree = await other.store.openTree("host.test:5000/two:2");
    expect([...tree.root.children.keys()].sort()).toEqual(["bin", "new"]);
  }
});

test("an image without a name gets one by which it is found", async () => {
  await using ws = await workspace();
  const { first } = await twoImages(ws);
  await using other = await workspace();
  const archive = await saved(ws.store, [first.digest], "docker");
  const [loaded] = await loadImages(other.store, { source: inChunks(archive) });
  expect(loaded!.name).toBe(`msb/loaded:${first.digest.slice(7, 19)}`);
  expect((await other.store.get(loaded!.name)).digest).toBe(first.digest);
});

test("saving what is not there fails before the first byte", async () => {
  await using ws = await workspace();
  await expect(saveImages(ws.store, { names: ["none"], format: "oci" })).rejects.toMatchObject({
    code: "not_found",
  });
  await expect(saveImages(ws.store, { names: [], format: "oci" })).rejects.toMatchObject({
    code: "invalid_argument",
  });
});

const layer = buildTar(lower);
const config = newOciImage([sha256(layer)], {}, "test");
const hex = (bytes: Buffer) => sha256(bytes).slice(7);
const docker = (manifest: unknown, parts: TestEntry[]) =>
  buildTar([...parts, { path: "manifest.json", data: Buffer.from(JSON.stringify(manifest)) }]);
const one = { Config: "c.json", RepoTags: ["a:1"], Layers: ["l/layer.tar"] };
const parts: TestEntry[] = [
  { path: "c.json", data: config },
  { path: "l/layer.tar", data: layer },
];

test("layers may be compressed, linked, named with ./ and come in any order", async () => {
  const cases: Buffer[] = [
    docker([one], parts),
    buildTar([{ path: "./manifest.json", data: Buffer.from(JSON.stringify([one])) }, ...parts.toReversed()]),
    docker([one], [parts[0]!, { path: "./l/layer.tar", data: gzipSync(layer) }]),
    docker(
      [one],
      [
        parts[0]!,
        { path: "real.tar", data: layer },
        { path: "l/layer.tar", typeflag: "2", linkTarget: "../real.tar" },
      ],
    ),
    docker(
      [one],
      [
        parts[0]!,
        { path: "l/layer.tar", typeflag: "1", linkTarget: "real.tar" },
        { path: "real.tar", data: layer },
      ],
    ),
    docker(
      [one],
      [
        ...parts,
        { path: "noise", data: Buffer.alloc(5000, "noise") },
        { path: "VERSION", data: Buffer.from("1.0") },
      ],
    ),
  ];
  for (const [i, archive] of cases.entries()) {
    await using ws = await workspace();
    const loaded = await loadImages(ws.store, { source: inChunks(archive, 999) });
    expect(
      loaded.map(({ name }) => name),
      String(i),
    ).toEqual(["a:1"]);
  }
});

const oci = (digest: string, extra: TestEntry[]) =>
  buildTar([
    ...extra,
    {
      path: "index.json",
      data: Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest, size: 1 }],
        }),
      ),
    },
  ]);
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: sha256(config),
      size: config.length,
    },
    layers: [
      { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: sha256(layer), size: layer.length },
    ],
  }),
);
const blob = (data: Buffer, name = data): TestEntry => ({ path: `blobs/sha256/${hex(name)}`, data });

test.each<[string, Buffer, string | RegExp]>([
  ["nothing", buildTar([{ path: "a", data: Buffer.from("a") }]), "neither manifest.json nor index.json"],
  ["no tar", Buffer.alloc(2000, "x"), "not a valid tar"],
  ["a manifest that is none", docker({}, parts), "manifest.json of the archive is invalid"],
  ["no configuration", docker([one], parts.slice(1)), "c.json"],
  ["no layer", docker([one], parts.slice(0, 1)), "l/layer.tar"],
  [
    "another layer",
    docker([one], [parts[0]!, { path: "l/layer.tar", data: buildTar(upper) }]),
    "is not the one",
  ],
  ["layers too few", docker([{ ...one, Layers: [] }], parts), "has 0 layers"],
  [
    "a layer that is none",
    docker([one], [parts[0]!, { path: "l/layer.tar", data: Buffer.alloc(9000, "no") }]),
    "l/layer.tar",
  ],
  ["a name that is none", docker([{ ...one, RepoTags: ["Not Good"] }], parts), "Not Good"],
  [
    "links in a circle",
    docker([one], [parts[0]!, { path: "l/layer.tar", typeflag: "2", linkTarget: "layer.tar" }]),
    "layer.tar",
  ],
  ["an index without its manifest", oci(sha256(manifest), [blob(config), blob(layer)]), sha256(manifest)],
  [
    "a manifest that is not itself",
    oci(sha256(manifest), [blob(config), blob(layer), blob(Buffer.from("{}"), manifest)]),
    "not what its digest says",
  ],
  [
    "a layer that is not itself",
    oci(sha256(manifest), [blob(config), blob(manifest), blob(gzipSync(layer), layer)]),
    "not what its digest says",
  ],
])("refused, and the store is as it was: %s", async (_, archive, message) => {
  await using ws = await workspace();
  await expect(loadImages(ws.store, { source: inChunks(archive, 5000) })).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(
      message instanceof RegExp ? message : new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")),
    ),
  });
  expect(await ws.store.list()).toEqual([]);
  await ws.store.sweep({ inUse: [] });
  expect((await ws.store.usage({ inUse: [] })).totalBytes).toBe(0);
});

test("a document beyond its bound is refused before it is read", async () => {
  await using ws = await workspace();
  const archive = docker(
    [one],
    [{ path: "c.json", data: Buffer.concat([Buffer.from("{"), Buffer.alloc(9 * 2 ** 20, " ")]) }],
  );
  await expect(loadImages(ws.store, { source: inChunks(archive) })).rejects.toMatchObject({
    message: expect.stringMatching(/c\.json.*larger/),
  });
});

test("loading can be cancelled", async () => {
  await using ws = await workspace();
  const stop = new AbortController();
  const archive = docker([one], parts);
  async function* source() {
    yield archive.subarray(0, 2000);
    stop.abort();
    yield archive.subarray(2000);
  }
  await expect(loadImages(ws.store, { source: source(), signal: stop.signal })).rejects.toMatchObject({
    code: "cancelled",
  });
  await importRootfs(ws.store, { stream: inChunks(layer), name: "still-works" });
});
