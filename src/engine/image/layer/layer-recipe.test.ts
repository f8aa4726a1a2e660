import { execFileSync } from "node:child_process";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { buildTar, inChunks, type TestEntry } from "../../../tar/tar-builder.test-support.ts";
import { sha256 } from "../digest.ts";
import { type Workspace, workspace } from "../workspace.test-support.ts";

async function roundTrip(ws: Workspace, tar: Buffer, chunk = 65_536): Promise<Buffer> {
  using layer = await ws.store.ingestLayer({ source: inChunks(tar, chunk), what: "test" });
  expect(layer.facts.digest).toBe(sha256(tar));
  return Buffer.concat(
    (await Array.fromAsync(ws.store.layerTar(layer.facts.digest))).map((piece) => Buffer.from(piece)),
  );
}

const everything: TestEntry[] = [
  { path: "./", typeflag: "5", mode: 0o755 },
  { path: "empty" },
  { path: "small", data: Buffer.from("hello") },
  { path: "large", data: Buffer.alloc(3_000_001, "abc") },
  { path: "large", data: Buffer.alloc(5000, "again") },
  {
    path: `${"l".repeat(200)}/${"m".repeat(200)}`,
    data: Buffer.from("long name"),
    xattrs: { "user.a": "b" },
  },
  { path: "link", typeflag: "1", linkTarget: "small" },
  { path: ".wh.gone", data: Buffer.from("a whiteout with contents") },
  { path: ".wh..wh.plnk/1", data: Buffer.from("a note of AUFS") },
  { path: "directory", typeflag: "5", size: 700 },
];

test("the tar comes out again to the last byte", async () => {
  await using ws = await workspace();
  const tar = buildTar(everything.slice(0, -1));
  for (const chunk of [100, 511, 4096, 1_000_000])
    expect((await roundTrip(ws, tar, chunk)).equals(tar)).toBe(true);
  // What follows the end mark is part of the digest too.
  const padded = Buffer.concat([tar, Buffer.alloc(9000, "what some writers leave")]);
  expect((await roundTrip(ws, padded)).equals(padded)).toBe(true);
});

test("also one with holes, as GNU tar writes it", async () => {
  await using ws = await workspace();
  execFileSync("sh", [
    "-c",
    `cd "$1" && truncate -s 5M sparse && printf data | dd of=sparse bs=1 seek=1234567 conv=notrunc status=none &&
     for version in 0.0 0.1 1.0; do tar -c -S --format=pax --sparse-version=$version -f $version.tar sparse; done &&
     tar -c -S --format=gnu -f old.tar sparse`,
    "sh",
    ws.path,
  ]);
  for (const name of ["0.0", "0.1", "1.0", "old"]) {
    const tar = await readFile(join(ws.path, `${name}.tar`));
    expect((await roundTrip(ws, tar)).equals(tar), name).toBe(true);
  }
});

test("random archives come out as they went in", async () => {
  await using ws = await workspace();
  const entry = fc.record({
    path: fc
      .stringMatching(/^[a-z][a-z.]{0,5}(\/[a-z]{1,4}){0,3}$/)
      .filter((path) => !/(^|\/)\.wh\./.test(path)),
    data: fc.uint8Array({ maxLength: 20_000 }).map((bytes) => Buffer.from(bytes)),
    pax: fc.constantFrom<[string, string][]>([], [["comment", "x".repeat(700)]]),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(entry, { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 9000 }),
      async (entries, chunk) => {
        const tar = buildTar(entries);
        expect((await roundTrip(ws, tar, chunk)).equals(tar)).toBe(true);
      },
    ),
    { numRuns: 60, seed: 3 },
  );
});

test("a recipe costs little beside the contents", async () => {
  await using ws = await workspace();
  const tar = buildTar(
    Array.from({ length: 2000 }, (_, i) => ({ path: `usr/share/doc/file-${i}`, mode: 0o644 })),
  );
  await roundTrip(ws, tar);
  const recipe = await readFile(join(ws.path, "images/recipes", sha256(tar).slice(7)));
  expect(recipe.length).toBeLessThan(tar.length / 20);
});

test("a layer that has changed on the disk is found out before its last piece", async () => {
  await using ws = await workspace();
  const tar = buildTar([{ path: "a", data: Buffer.alloc(3_000_000, 1) }]);
  await roundTrip(ws, tar);
  const blob = join(ws.path, "images/blobs", sha256(tar).slice(7));
  await chmod(blob, 0o644);
  const contents = await readFile(blob);
  contents[1_500_000] = 2;
  await writeFile(blob, contents);
  let received = 0;
  const reading = async () => {
    for await (const piece of ws.store.layerTar(sha256(tar))) received += piece.length;
  };
  await expect(reading()).rejects.toMatchObject({
    code: "internal",
    message: expect.stringMatching(/damaged/),
  });
  expect(received).toBeLessThan(tar.length);
  await expect(ws.store.layerTar(sha256("none")).next()).rejects.toMatchObject({ code: "not_found" });
});

test("an expected layer is read once, however many ask, and another one is refused", async () => {
  await using ws = await workspace();
  const tar = buildTar(everything.slice(0, 3));
  let reads = 0;
  async function* source() {
    reads++;
    yield* inChunks(tar, 100);
  }
  const ask = () => ws.store.ingestLayer({ source: source(), expected: sha256(tar), what: "layer x" });
  const layers = await Promise.all([ask(), ask(), ask()]);
  layers.push(await ask());
  expect(reads).toBe(1);
  for (const layer of layers) layer[Symbol.dispose]();

  await expect(
    ws.store.ingestLayer({
      source: inChunks(buildTar([{ path: "other" }])),
      expected: sha256("other"),
      what: "layer y",
    }),
  ).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(/layer y is not what it claims/),
  });
});

test("when the one that reads a layer gives up, another goes on", async () => {
  await using ws = await workspace();
  const tar = buildTar(everything.slice(0, 3));
  const stop = new AbortController();
  const reading = Promise.withResolvers<void>();
  async function* stalled() {
    yield tar.subarray(0, 100);
    reading.resolve();
    await new Promise(() => {});
  }
  const expected = sha256(tar);
  const first = ws.store.ingestLayer({ source: stalled(), expected, what: "a", signal: stop.signal });
  await reading.promise;
  const second = ws.store.ingestLayer({ source: inChunks(tar), expected, what: "b" });
  stop.abort();
  await expect(first).rejects.toMatchObject({ code: "cancelled" });
  using layer = await second;
  expect(layer.facts.digest).toBe(expected);
});

test("contents that no image has are bounded in memory: a whiteout with a body", async () => {
  await using ws = await workspace({ maxLayerBytes: 64 * 2 ** 20 });
  const head = buildTar([{ path: ".wh.huge", size: 2 ** 33 - 512 }]).subarray(0, 512);
  async function* endless() {
    yield head;
    const noise = Buffer.alloc(1 << 20, "x");
    for (;;) yield noise;
  }
  await expect(ws.store.ingestLayer({ source: endless(), what: "bomb" })).rejects.toMatchObject({
    code: "invalid_argument",
  });
});
