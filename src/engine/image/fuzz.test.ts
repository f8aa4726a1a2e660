/**
 * Seeded mutations of well-formed input. Whatever comes, the answer is a result or `invalid_argument`, soon, and no file
 * is left. A failure prints the seed of its case.
 */

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { buildTar, inChunks, type TestEntry } from "../../tar/tar-builder.test-support.ts";
import { importRootfs } from "./index.ts";
import { decodeRow, encodeRow } from "./layer/layer-index.ts";
import { openDisk, workspace } from "./workspace.test-support.ts";

/** Small, fast, and the same everywhere (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const entries: TestEntry[] = [
  { path: "d/", typeflag: "5", mtime: "1700000000.5", xattrs: { "user.x": "y".repeat(300) } },
  { path: `d/${"n".repeat(150)}`, data: Buffer.alloc(5000, 1), uid: 3_000_000 },
  { path: "d/link", typeflag: "1", linkTarget: `d/${"n".repeat(150)}` },
  { path: "s", typeflag: "2", linkTarget: "d" },
  { path: "s/.wh.x" },
  { path: "c", typeflag: "3", device: [1, 3] },
  {
    path: "sparse",
    data: Buffer.concat([Buffer.from("2\n0\n10\n1000000\n20\n".padEnd(512, "\0")), Buffer.alloc(30, 1)]),
    pax: [
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", "holes"],
      ["GNU.sparse.realsize", "2000000"],
    ],
  },
];

/** Header fields worth lying about, and bytes that mean something in them. */
const TELLING = [0, 0xff, 0x80, 0x20, 0x2f, 0x30, 0x37, 0x39, 0x3d, 0x53, 0x78, 0x4c, 0x0a];

function mutate(original: Buffer, seed: number): Buffer {
  const next = random(seed);
  let data = Buffer.from(original) as Buffer;
  for (let i = 1 + next(4); i > 0; i--) {
    const at = next(data.length);
    switch (next(5)) {
      case 0:
        data[at] = next(256);
        break;
      case 1:
        data[at] = TELLING[next(TELLING.length)]!;
        break;
      case 2:
        data = data.subarray(0, at + 1);
        break;
      case 3: {
        const block = Math.floor(at / 512) * 512;
        data = Buffer.concat([data.subarray(0, block), data.subarray(next(data.length / 512 || 1) * 512)]);
        break;
      }
      default:
        data.fill(TELLING[next(TELLING.length)]!, at, Math.min(data.length, at + next(20)));
    }
    if (data.length === 0) return data;
  }
  // Most lies are told with a checksum that fits, or they would all be found out by it.
  if (next(8) !== 0) mendChecksums(data);
  return data;
}

function mendChecksums(data: Buffer): void {
  for (let at = 0; at + 512 <= data.length; at += 512) {
    const block = data.subarray(at, at + 512);
    if (block.toString("latin1", 257, 262) !== "ustar") continue;
    block.fill(0x20, 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, "0")}\0`, 148, "latin1");
  }
}

const LIMITS = { maxLayerBytes: 2 ** 24, maxEntries: 1000, maxBlobBytes: 2 ** 40, maxMetadataBytes: 2 ** 26 };

test("mutated archives are imported or refused", async () => {
  await using ws = await workspace(LIMITS);
  const plain = buildTar(entries);
  const packed = [gzipSync(plain), zstdCompressSync(plain)];
  const outcomes = { imported: 0, refused: 0 };
  for (let seed = 1; seed <= 1000; seed++) {
    const source = seed % 10 === 0 ? packed[seed % 20 === 0 ? 0 : 1]! : plain;
    const archive = mutate(source, seed);
    const start = performance.now();
    try {
      await importRootfs(ws.store, { stream: inChunks(archive, 1000), name: "fuzz" });
      using reader = openDisk(await ws.store.rootDisk("fuzz"));
      reader.walk(); // what is imported is sound
      outcomes.imported++;
    } catch (error) {
      const refused =
        error instanceof SandboxError && ["invalid_argument", "unsupported"].includes(error.code);
      if (!refused) throw new Error(`seed ${seed}`, { cause: error });
      outcomes.refused++;
    }
    expect(performance.now() - start, `seed ${seed}`).toBeLessThan(2000);
  }
  expect(await readdir(join(ws.path, "images/incoming"))).toEqual([]);
  // Both happen often, or the mutations test little.
  expect(outcomes.imported).toBeGreaterThan(150);
  expect(outcomes.refused).toBeGreaterThan(150);
}, 60_000);

test("mutated index lines are rows or errors, and rows are within bounds", () => {
  const lines = [
    encodeRow({ type: "file", path: "a/b", mode: 0o644, uid: 0, gid: 0, mtime: [1, 2], size: 9, block: 3 }),
    encodeRow({
      type: "file",
      path: "h",
      mode: 0,
      uid: 0,
      gid: 0,
      mtime: [1, 2],
      size: 99_999,
      chunks: { bits: 1, runs: [[0, 1, 2]] },
    }),
    encodeRow({ type: "link", path: "x", target: "a/b" }),
  ];
  let rows = 0;
  for (let seed = 1; seed <= 20_000; seed++) {
    const next = random(seed);
    const bytes = Buffer.from(lines[seed % lines.length]!);
    for (let i = next(3); i >= 0; i--) bytes[next(bytes.length)] = 0x20 + next(0x60);
    const line = bytes.toString();
    try {
      const row = decodeRow(line);
      rows++;
      expect(row.path.split("/").every((name) => name !== "." && name !== ".." && name.length <= 255)).toBe(
        true,
      );
      if ("mode" in row) expect(row.mode).toBeLessThanOrEqual(0o7777);
    } catch (error) {
      expect(["SyntaxError", "ZodError"], `seed ${seed}: ${error}`).toContain((error as Error).name);
    }
  }
  expect(rows).toBeGreaterThan(500);
});

test("archives made to be costly are refused in bounded time and disk", async () => {
  const folder = await mkdtemp(join(tmpdir(), "msb-costly-"));
  await using ws = await workspace({ ...LIMITS, maxEntries: 20_000 });
  const refuse = async (name: string, stream: AsyncIterable<Uint8Array>, message: RegExp) => {
    const start = performance.now();
    await expect(importRootfs(ws.store, { stream, name: "costly" }), name).rejects.toMatchObject({
      code: "invalid_argument",
      message,
    });
    expect(performance.now() - start, name).toBeLessThan(5000);
    expect(await readdir(join(ws.path, "images/incoming")), name).toEqual([]);
  };
  const zeros = Buffer.alloc(2 ** 26);
  await refuse("a bomb", inChunks(gzipSync(Buffer.concat([buildTar(entries), zeros]))), /larger than/);
  await refuse(
    "entries without end",
    (async function* () {
      const one = buildTar([{ path: "x" }]).subarray(0, 512);
      for (;;) yield one;
    })(),
    /more than 20000 entries|larger than/,
  );
  await refuse(
    "PAX headers without end",
    (async function* () {
      const extended = buildTar([{ path: "x", pax: [["comment", "x".repeat(100_000)]] }]);
      for (;;) yield extended.subarray(0, 512 * 197);
    })(),
    /larger than/,
  );
  const sparse = (size: number): TestEntry => ({
    path: "s",
    data: Buffer.from("x"),
    pax: [
      ["GNU.sparse.size", String(size)],
      ["GNU.sparse.map", `${size - 1},1`],
    ],
  });
  await refuse("a file beyond all bounds", inChunks(buildTar([sparse(2 ** 50)])), /"s".*out of range/);
  await refuse(
    "many sparse files",
    inChunks(
      buildTar(Array.from({ length: 6000 }, (_, i) => ({ ...sparse(2 ** 44 - 8192), path: `s${i}` }))),
    ),
    /metadata|larger than/,
  );
  await refuse(
    "a path of 4096 directories",
    inChunks(buildTar([{ path: "d/".repeat(4096) }])),
    /longer than 4095/,
  );
  await rm(folder, { recursive: true });
}, 30_000);
