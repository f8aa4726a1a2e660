import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sandboxSpec } from "../../contract/index.ts";
import { readQcow2Info } from "../disk/index.ts";
import type { Backing } from "../machine/index.ts";
import { prepareDisks } from "./disks.ts";

let folder: string;
const GiB = 1024 ** 3;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-disks-"));
  await mkdir(join(folder, "box"));
  await writeFile(join(folder, "blank"), "blank");
  await writeFile(join(folder, "template"), "the template's");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const prepare = (hasRun: boolean, diskMiB = 4096) =>
  prepareDisks(
    join(folder, "box"),
    { levels: [join(folder, "blank"), join(folder, "template")], bytes: 4 * GiB },
    { hasRun, spec: sandboxSpec.parse({ image: "x", diskMiB }) },
  );

test("the first start writes to an empty overlay of the size that was asked for", async () => {
  const disks = await prepare(false, 8192);
  expect(disks.kept).toBeUndefined();
  expect(disks.upper.levels).toBe(2);
  const info = await readQcow2Info(join(disks.writableDirectory, "upper.qcow2"));
  expect(info).toMatchObject({ virtualSizeBytes: 8 * GiB });
  expect(info.backingFile).toBeFalsy();
});

test("a first start that failed is begun anew: its guest may have written already", async () => {
  const { writableDirectory } = await prepare(false);
  await writeFile(join(writableDirectory, "upper.qcow2"), "half-written");
  await prepare(false);
  expect(await readQcow2Info(join(writableDirectory, "upper.qcow2"))).toMatchObject({
    virtualSizeBytes: 4 * GiB,
  });
});

test("later starts keep what the first wrote, over what it was written over, whatever became of template and assets", async () => {
  const { writableDirectory } = await prepare(false);
  await writeFile(join(writableDirectory, "upper.qcow2"), "what the user wrote");
  await writeFile(join(folder, "another"), "another template's");
  await rename(join(folder, "another"), join(folder, "template"));
  for (let start = 2; start <= 4; start++) {
    const disks = await prepare(true);
    expect(await readFile(join(writableDirectory, "kept.qcow2"), "utf8")).toBe("what the user wrote");
    const level = (backing: Backing | undefined, n: number) =>
      readFile(join(backing!.directory, String(n)), "utf8");
    expect(await level(disks.kept, 0)).toBe("blank");
    expect(await level(disks.kept, 1)).toBe("the template's");
    expect(await level(disks.upper, 1)).toBe("another template's");
    expect((await stat(join(writableDirectory, "upper.qcow2"))).size).toBeGreaterThan(0);
    await writeFile(join(writableDirectory, "upper.qcow2"), "thrown away");
  }
});

test("a start that was cut off between keeping the disk and making a fresh one can be made again", async () => {
  const { writableDirectory } = await prepare(false);
  await writeFile(join(writableDirectory, "upper.qcow2"), "what the user wrote");
  await prepare(true);
  await rm(join(writableDirectory, "upper.qcow2"));
  await prepare(true);
  expect(await readFile(join(writableDirectory, "kept.qcow2"), "utf8")).toBe("what the user wrote");
});
