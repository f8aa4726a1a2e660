import { execFileSync } from "node:child_process";
import {
  appendFile,
  chmod,
  mkdtemp,
  mkdtempDisposable,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { copySparse } from "./copy-sparse.ts";

const MIB = 1024 ** 2;
const OPTIONS = { what: "a thing", sparse: "auto", deadlineMs: 60_000 } as const;
let folder: string;
const at = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-copy-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const bytesOnDisk = async (file: string) => (await stat(file)).blocks * 512;

test.each(["auto", "always"] as const)("a copy (%s) is the same, with the same holes", async (sparse) => {
  await writeFile(at("source"), "first");
  await truncate(at("source"), 64 * MIB);
  await appendFile(at("source"), "last");
  await chmod(at("source"), 0o400);
  await copySparse(at("source"), at("target"), { ...OPTIONS, sparse });
  expect((await readFile(at("target"))).equals(await readFile(at("source")))).toBe(true);
  expect(await bytesOnDisk(at("target"))).toBeLessThan(MIB);
  // Whoever owns it may write to it, though nobody may to what it is of.
  expect((await stat(at("target"))).mode & 0o200).toBe(0o200);
});

test("zeros become holes where that is asked for", async () => {
  // No blocks are shared there.
  await using memory = await mkdtempDisposable("/dev/shm/msb-copy-");
  const [source, kept, made] = ["source", "kept", "made"].map((name) => join(memory.path, name));
  await writeFile(source!, Buffer.alloc(2 * MIB));
  await copySparse(source!, kept!, OPTIONS);
  await copySparse(source!, made!, { ...OPTIONS, sparse: "always" });
  expect(await bytesOnDisk(kept!)).toBe(2 * MIB);
  expect(await bytesOnDisk(made!)).toBe(0);
  expect((await readFile(made!)).equals(Buffer.alloc(2 * MIB))).toBe(true);
});

test("a full disk is said to be so", async () => {
  await writeFile(at("source"), "x");
  await expect(copySparse(at("source"), "/dev/full", OPTIONS)).rejects.toMatchObject({
    code: "resource_exhausted",
    message: "the disk is full: copying a thing failed",
  });
});

test("what is not there is told in the words of cp", async () => {
  await expect(copySparse(at("nowhere"), at("target"), OPTIONS)).rejects.toMatchObject({
    code: "internal",
    message: expect.stringMatching(/^a thing cannot be copied: cp: .*No such file/),
  });
});

test("a copy that does not end is given up at its deadline, or when it is cancelled", async () => {
  // Nobody ever writes to it.
  execFileSync("mkfifo", [at("pipe")]);
  await expect(copySparse(at("pipe"), at("target"), { ...OPTIONS, deadlineMs: 100 })).rejects.toMatchObject({
    code: "timeout",
    message: "a thing was not copied within 0.1 s",
  });
  const controller = new AbortController();
  const copying = copySparse(at("pipe"), at("target"), { ...OPTIONS, signal: controller.signal });
  controller.abort();
  await expect(copying).rejects.toMatchObject({ code: "cancelled" });
});
