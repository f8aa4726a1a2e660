import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sandboxSpec } from "../../contract/index.ts";
import { readQcow2Info } from "../disk/index.ts";
import type { BootAssets } from "../store/index.ts";
import type { Template } from "../template/index.ts";
import { prepareDisks } from "./disks.ts";

let folder: string;
let template: Template;
let assets: BootAssets;
const GiB = 1024 ** 3;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-disks-"));
  for (const name of ["template", "assets", "box"]) await mkdir(join(folder, name));
  await writeFile(join(folder, "template", "upper.qcow2"), "the template's");
  await writeFile(join(folder, "assets", "blank.ext4"), "blank");
  template = { key: "k", directory: join(folder, "template"), manifest: {} as Template["manifest"] };
  assets = {
    hash: "h",
    directory: join(folder, "assets"),
    kernel: "k",
    initramfs: "i",
    blank: "blank.ext4",
    blankBytes: 4 * GiB,
  };
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const prepare = (hasRun: boolean, diskMiB = 4096) =>
  prepareDisks(join(folder, "box"), template, assets, {
    hasRun,
    spec: sandboxSpec.parse({ image: "x", diskMiB }),
  });

test("the first start writes to an empty overlay of the size that was asked for", async () => {
  const disks = await prepare(false, 8192);
  expect(disks.keptDirectory).toBeUndefined();
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
  await rm(join(folder, "template", "upper.qcow2"));
  await rm(join(folder, "assets", "blank.ext4"));
  for (let start = 2; start <= 4; start++) {
    const disks = await prepare(true);
    expect(await readFile(join(writableDirectory, "kept.qcow2"), "utf8")).toBe("what the user wrote");
    expect(await readFile(join(disks.keptDirectory!, "upper.qcow2"), "utf8")).toBe("the template's");
    expect(await readFile(join(disks.keptDirectory!, "blank.ext4"), "utf8")).toBe("blank");
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
