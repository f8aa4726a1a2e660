import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isLong } from "./chain.ts";
import { deltaFiles, PAGE_BYTES, readRuns, writeDelta } from "./delta.ts";
import { fileDigest } from "./digest.ts";
import { dataExtents } from "./extents.ts";
import { flatten } from "./flatten.ts";
import { materialise } from "./materialise.ts";
import { applied, bytesOf, page, writeLevel, writeSparse } from "./state.test-support.ts";

const MIB = 1024 ** 2;
const PAGES = 24;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-memory-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const pages = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: PAGES, maxLength: PAGES });
const changes = fc
  .array(fc.tuple(fc.integer({ min: 0, max: PAGES - 1 }), fc.integer({ min: 0, max: 255 })))
  .map((entries) => new Map(entries));

test("a memory comes out of its levels as it was, and out of one that was made of them", async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(pages, fc.array(changes, { maxLength: 6 }), async (base, levels) => {
      const at = join(folder, String(run++));
      const expected = bytesOf(levels.reduce(applied, base));
      await writeSparse(`${at}.base`, PAGES * PAGE_BYTES, new Map([[0, bytesOf(base)]]));
      for (const [n, level] of levels.entries()) await writeLevel(at, n, level);
      const deltas = levels.map((_, n) => deltaFiles(at, n));
      await materialise(`${at}.base`, deltas, `${at}.memory`);
      expect((await readFile(`${at}.memory`)).equals(expected)).toBe(true);

      const count = await flatten(deltas, expected.length, `${at}.flat`);
      expect(count).toBe(new Set(levels.flatMap((level) => [...level.keys()])).size);
      await materialise(`${at}.base`, [deltaFiles(`${at}.flat`, 0)], `${at}.again`);
      expect((await readFile(`${at}.again`)).equals(expected)).toBe(true);
    }),
    { numRuns: 40 },
  );
});

test("the base keeps its holes and is not written to", async () => {
  const base = join(folder, "base");
  await writeSparse(base, 64 * MIB, new Map([[32 * MIB, page(7)]]));
  await writeLevel(folder, 0, new Map([[2, 9]]));
  await materialise(base, [deltaFiles(folder, 0)], join(folder, "memory"));
  const { size, blocks } = await stat(join(folder, "memory"));
  expect(size).toBe(64 * MIB);
  expect(blocks * 512).toBeLessThan(4 * MIB);
  const memory = await readFile(join(folder, "memory"));
  expect(memory.subarray(2 * PAGE_BYTES, 3 * PAGE_BYTES).equals(page(9))).toBe(true);
  expect(memory.subarray(32 * MIB, 32 * MIB + PAGE_BYTES).equals(page(7))).toBe(true);
  expect((await readFile(base)).subarray(2 * PAGE_BYTES, 3 * PAGE_BYTES).equals(page(0))).toBe(true);
});

test("a level that is not written whole is none", async () => {
  const write = (file: string) => writeFile(file, page(1));
  await expect(writeDelta(folder, 0, [{ page: 4, count: 3 }], write)).rejects.toMatchObject({
    code: "internal",
    message: expect.stringContaining("4096 bytes were written of 3 pages"),
  });
});

test.each([
  ["a run of nothing", [[3, 0]], 0],
  [
    "runs that overlap",
    [
      [3, 2],
      [4, 1],
    ],
    3,
  ],
  [
    "runs that go back",
    [
      [9, 1],
      [3, 1],
    ],
    2,
  ],
  ["a run beyond the memory", [[PAGES - 1, 2]], 2],
  ["a run that wraps around", [[0xffffffff, 0xffffffff]], 1],
  ["more pages than are there", [[3, 2]], 1],
  ["fewer pages than are there", [[3, 2]], 3],
] as const)("refused: %s", async (_, runs, pagesThere) => {
  await writeLevel(folder, 0, new Map([[0, 1]]));
  const files = deltaFiles(folder, 0);
  await writeFile(files.runs, Buffer.from(new Uint32Array(runs.flat()).buffer));
  await writeFile(files.pages, Buffer.alloc(pagesThere * PAGE_BYTES));
  await expect(readRuns(files, 0, PAGES * PAGE_BYTES)).rejects.toMatchObject({ code: "internal" });
  await writeFile(join(folder, "base"), Buffer.alloc(PAGES * PAGE_BYTES));
  await expect(materialise(join(folder, "base"), [files], join(folder, "memory"))).rejects.toMatchObject({
    message: expect.stringContaining("delta/0."),
  });
});

test("refused: half a run, and more runs than a memory can have", async () => {
  await writeLevel(folder, 0, new Map([[0, 1]]));
  const files = deltaFiles(folder, 0);
  for (const bytes of [7, 8 * (PAGES + 1)]) {
    await writeFile(files.runs, Buffer.alloc(bytes, 1));
    await expect(readRuns(files, 0, PAGES * PAGE_BYTES)).rejects.toMatchObject({
      message: expect.stringContaining(`it has ${bytes} bytes`),
    });
  }
});

test("levels are made one when they are more than four, or more than half of the memory", () => {
  expect(isLong([1, 1, 1, 1], MIB)).toBe(false);
  expect(isLong([1, 1, 1, 1, 1], MIB)).toBe(true);
  expect(isLong([64, 64], MIB)).toBe(false);
  expect(isLong([64, 65], MIB)).toBe(true);
  // One level cannot be made less.
  expect(isLong([256], MIB)).toBe(false);
});

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

test.each([0, 1, MIB, MIB + 1, 12 * MIB, 20 * MIB + 77])(
  "the sum of %d bytes is that of the sums of each MiB",
  async (size) => {
    const path = join(folder, "file");
    const data = new Map([[0, Buffer.from("first")]]);
    if (size > 12 * MIB) data.set(10 * MIB - 2, Buffer.from("across")).set(size - 1, Buffer.from("!"));
    await writeSparse(path, 0, new Map());
    await rm(path);
    await writeSparse(path, size, size < 5 ? new Map() : data);
    const bytes = await readFile(path);
    const pieces = Array.from({ length: Math.ceil(size / MIB) }, (_, i) =>
      sha256(bytes.subarray(i * MIB, (i + 1) * MIB)),
    );
    expect(await fileDigest(path)).toBe(sha256(Buffer.concat(pieces)).toString("hex"));
  },
);

test("finds where a sparse file has data", async () => {
  const path = join(folder, "file");
  await writeSparse(
    path,
    100 * MIB,
    new Map([
      [5 * MIB, page(1)],
      [80 * MIB, page(2)],
    ]),
  );
  const extents = await dataExtents(path);
  const has = (at: number) => extents.some(({ offset, length }) => offset <= at && at < offset + length);
  expect([5 * MIB, 80 * MIB].map(has)).toEqual([true, true]);
  expect(extents.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(4 * MIB);
  await writeFile(path, Buffer.alloc(10 * MIB, 1));
  expect(await dataExtents(path)).toEqual([{ offset: 0, length: 10 * MIB }]);
});
