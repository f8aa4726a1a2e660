import { execFileSync } from "node:child_process";
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createQcow2 } from "./qcow2.ts";
import { mergeQcow2 } from "./qcow2-merge.ts";
import { cutWritesShort, failWrites } from "./short-writes.test-support.ts";

/** Overlays that QEMU's own tools have written, and what they read of one that was made of several. */

const GIB = 1024 ** 3;
/** Two tables of 512 MiB, the second not full. */
const SIZE = GIB - 1024 * 1024;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-merge-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Write {
  at: number;
  bytes: number;
  /** 0: zeros that are known to be such. */
  pattern: number;
}

/** An overlay with these writes, over those `below`, lowest first. */
async function overlay(name: string, below: readonly string[], writes: readonly Write[]): Promise<string> {
  const path = join(folder, name);
  await createQcow2(path, { virtualSizeBytes: SIZE });
  const commands = writes.flatMap(({ at, bytes, pattern }) => [
    "-c",
    pattern === 0 ? `write -z ${at} ${bytes}` : `write -P ${pattern} ${at} ${bytes}`,
  ]);
  if (commands.length > 0) execFileSync("qemu-io", [...commands, chain([...below, path])]);
  return path;
}

/** Each over the one before it, to QEMU's tools. */
function chain(files: readonly string[]): string {
  const nested = files.reduce<object | null>(
    (backing, filename) => ({ driver: "qcow2", file: { driver: "file", filename }, backing }),
    null,
  );
  return `json:${JSON.stringify(nested)}`;
}

/** @throws unless both chains show the same, as QEMU reads them */
function expectSame(one: readonly string[], other: readonly string[]): void {
  expect(execFileSync("qemu-img", ["compare", chain(one), chain(other)], { encoding: "utf8" })).toBe(
    "Images are identical.\n",
  );
}

const write = fc.record({
  at: fc.integer({ min: 0, max: SIZE / 4096 - 65 }).map((page) => page * 4096),
  bytes: fc.integer({ min: 1, max: 64 }).map((pages) => pages * 4096),
  pattern: fc.integer({ min: 0, max: 255 }),
});

test("shows what the overlays show together, also zeros over something, and is sound to QEMU", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(write, { maxLength: 4 }), { minLength: 2, maxLength: 4 }),
      async (levels) => {
        for (const name of await readdir(folder)) await rm(join(folder, name));
        const files: string[] = [];
        for (const [i, writes] of levels.entries()) files.push(await overlay(`${i}`, files, writes));
        const merged = join(folder, "merged");
        await mergeQcow2(files, merged, SIZE);
        execFileSync("qemu-img", ["check", "-q", merged]);
        expectSame([merged], files);
      },
    ),
    { numRuns: 12 },
  );
}, 60_000);

test("what is below the merged ones still shows through", async () => {
  const base = await overlay("base", [], [{ at: 0, bytes: 1 << 20, pattern: 7 }]);
  const first = await overlay("first", [base], [{ at: 65_536, bytes: 65_536, pattern: 8 }]);
  const second = await overlay("second", [base, first], [{ at: 131_072, bytes: 65_536, pattern: 0 }]);
  const merged = join(folder, "merged");
  await mergeQcow2([first, second], merged, SIZE);
  expectSame([base, merged], [base, first, second]);
});

test("writes that are cut short are gone on with", async () => {
  const first = await overlay("first", [], [{ at: 0, bytes: 1 << 20, pattern: 7 }]);
  const second = await overlay("second", [first], [{ at: 65_536, bytes: 65_536, pattern: 8 }]);
  const merged = join(folder, "merged");
  await using _ = await cutWritesShort();
  await mergeQcow2([first, second], merged, SIZE);
  execFileSync("qemu-img", ["check", "-q", merged]);
  expectSame([merged], [first, second]);
});

test.each(["ENOSPC", "EDQUOT"])("a disk that is full (%s) is said to be so", async (code) => {
  const first = await overlay("first", [], [{ at: 0, bytes: 1 << 20, pattern: 7 }]);
  await using _ = await failWrites(code);
  await expect(mergeQcow2([first, first], join(folder, "merged"), SIZE)).rejects.toMatchObject({
    code: "resource_exhausted",
  });
  expect(await readdir(folder)).toEqual(["first"]);
});

test.each([
  ["a cluster outside of its file", 0x30000, Buffer.from([0x80, 0, 0x10, 0, 0, 0, 0, 0])],
  ["another file for its data", 79, Buffer.from([4])],
  ["subclusters", 79, Buffer.from([16])],
  ["encryption", 35, Buffer.from([1])],
])("one with %s is refused, and leaves nothing", async (_, at, bytes) => {
  const first = await overlay("first", [], []);
  const second = await overlay("second", [first], [{ at: 0, bytes: 4096, pattern: 1 }]);
  await using file = await open(second, "r+");
  await file.write(bytes, 0, bytes.length, at);
  await expect(mergeQcow2([first, second], join(folder, "merged"), SIZE)).rejects.toMatchObject({
    code: "invalid_argument",
  });
  expect(await readdir(folder)).not.toContain("merged");
});

test("a compressed cluster is refused", async () => {
  const first = await overlay("first", [], [{ at: 0, bytes: 65_536, pattern: 1 }]);
  const l2 = Number((await readFile(first)).readBigUInt64BE(0x30000) & 0xff_ffff_ffff_fe00n);
  await using file = await open(first, "r+");
  await file.write(Buffer.from([0x40]), 0, 1, l2);
  await expect(mergeQcow2([first, first], join(folder, "merged"), SIZE)).rejects.toMatchObject({
    code: "invalid_argument",
  });
});

test("one cluster that is used again and again is not written again and again", async () => {
  const first = await overlay("first", [], [{ at: 0, bytes: 65_536, pattern: 1 }]);
  await using file = await open(first, "r+");
  const l1 = (await readFile(first)).subarray(0x30000, 0x30008);
  const l2At = Number(l1.readBigUInt64BE() & 0xff_ffff_ffff_fe00n);
  const l2 = (await readFile(first)).subarray(l2At, l2At + 8);
  await file.write(Buffer.concat(Array.from({ length: 2 }, () => l1)), 0, 16, 0x30000);
  await file.write(Buffer.concat(Array.from({ length: 8192 }, () => l2)), 0, 65_536, l2At);
  await expect(mergeQcow2([first, first], join(folder, "merged"), SIZE)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining("more than once"),
  });
  expect(await readdir(folder)).toEqual(["first"]);
});

test("one that is larger than the sandbox's disk may be is refused", async () => {
  const first = await overlay("first", [], []);
  await expect(mergeQcow2([first, first], join(folder, "merged"), SIZE - 512)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(`${SIZE - 512} are allowed`),
  });
  expect(await readdir(folder)).toEqual(["first"]);
});
