import { execFileSync } from "node:child_process";
import { link, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VmmFile } from "./vmm-file.ts";

/** A folder in which somebody puts other things in the place of files. */

let folder: string;
const inFolder = (name: string) => join(folder, name);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-vmm-file-"));
  await writeFile(inFolder("secret"), "of the host");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("leads to what was opened, whatever is put into its place", async () => {
  await writeFile(inFolder("disk"), "the disk");
  await using file = await VmmFile.open(inFolder("disk"));
  await rename(inFolder("secret"), inFolder("disk"));
  expect(await readFile(file.path, "utf8")).toBe("the disk");
});

test.each([
  ["a link", (path: string) => symlink(inFolder("secret"), path)],
  ["another name of a file", (path: string) => link(inFolder("secret"), path)],
  ["a pipe that nobody writes to", async (path: string) => void execFileSync("mkfifo", [path])],
  ["a folder", async (path: string) => void execFileSync("mkdir", [path])],
  ["nothing", async () => {}],
])("%s is refused, and at once", async (_, make) => {
  await make(inFolder("disk"));
  await expect(VmmFile.open(inFolder("disk"))).rejects.toMatchObject({ code: "internal" });
});
