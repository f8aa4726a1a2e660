import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createQcow2 } from "./qcow2.ts";
import { rawOfQcow2 } from "./qcow2-raw.ts";
import { cutWritesShort } from "./short-writes.test-support.ts";

/** Disks that QEMU's own tools have written, and what they read of them as raw ones. */

/** Two tables of 512 MiB, the second not full, and no whole number of clusters. */
const SIZE = 1024 ** 3 - 1024 * 1024 - 4096;
let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-raw-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const write = fc.record({
  page: fc.oneof(fc.integer({ min: 0, max: SIZE / 4096 - 64 }), fc.constant(SIZE / 4096 - 64)),
  pages: fc.integer({ min: 1, max: 64 }),
  pattern: fc.integer({ min: 0, max: 255 }),
});

async function written(name: string, writes: readonly { page: number; pages: number; pattern: number }[]) {
  await rm(at(name), { force: true });
  await createQcow2(at(name), { virtualSizeBytes: SIZE });
  const commands = writes.flatMap(({ page, pages, pattern }) => [
    "-c",
    `write -P ${pattern} ${page * 4096} ${pages * 4096}`,
  ]);
  if (commands.length > 0) execFileSync("qemu-io", ["-f", "qcow2", ...commands, at(name)]);
  return at(name);
}

test("shows the same, with holes where nothing is", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(write, { maxLength: 4 }), async (writes) => {
      const disk = await written("disk", writes);
      await rm(at("raw"), { force: true });
      await rawOfQcow2(disk, at("raw"), SIZE);
      const compared = execFileSync("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", disk, at("raw")], {
        encoding: "utf8",
      });
      expect(compared).toBe("Images are identical.\n");
      const { size, blocks } = await stat(at("raw"));
      expect(size).toBe(SIZE);
      expect(blocks * 512).toBeLessThanOrEqual(writes.length * (64 * 4096 + 2 * 65_536) + 65_536);
    }),
    { numRuns: 10 },
  );
}, 60_000);

test("writes that are cut short are gone on with", async () => {
  const disk = await written("cut", [{ page: 0, pages: 64, pattern: 7 }]);
  await rm(at("raw"), { force: true });
  await using _ = await cutWritesShort();
  await rawOfQcow2(disk, at("raw"), SIZE);
  execFileSync("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", disk, at("raw")]);
});

test("a disk of another size, or a cluster outside of the file, is refused and leaves nothing", async () => {
  const disk = await written("strange", [{ page: 0, pages: 16, pattern: 1 }]);
  await expect(rawOfQcow2(disk, at("none"), SIZE + 4096)).rejects.toMatchObject({ code: "invalid_argument" });
  await using file = await open(disk, "r+");
  await file.write(Buffer.from([0x80, 0, 0x10, 0, 0, 0, 0, 0]), 0, 8, 0x30000);
  await expect(rawOfQcow2(disk, at("none"), SIZE)).rejects.toMatchObject({ code: "invalid_argument" });
  expect(existsSync(at("none"))).toBe(false);
});
