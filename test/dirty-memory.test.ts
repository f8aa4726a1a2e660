import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PAGE_BYTES } from "../src/engine/machine/machine.ts";
import { readDirtyMemory } from "../src/engine/machine/qemu/dirty-memory.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** The thread that reads the memory of VMs and writes it: of a sandbox that stands still, by the side of its daemon's own. */

let driver: SandboxDriver;
let folder: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("dirty-memory");
  folder = await mkdtemp(join(tmpdir(), "msb-memory-"));
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test("what a VM has changed is written whole, by two at once, after one that failed", async () => {
  await using sandbox = await driver.create({});
  await sandbox.shell("dd if=/dev/urandom of=/dev/shm/random bs=1M count=9");
  await sandbox.pause();
  const [pid] = await driver.vmPids();
  const mapped = join(driver.home, "sandboxes", sandbox.id, "origin/memory");
  const read = () => readDirtyMemory(pid!, mapped);

  const failing = await read();
  await expect(failing.writeTo(join(folder, "none/pages"))).rejects.toMatchObject({ code: "ENOENT" });
  await failing.release();
  const given = await read();
  await given.release();
  await given.release();

  const both = await Promise.all([read(), read()]);
  await Promise.all(both.map((memory, i) => memory.writeTo(join(folder, `${i}`))));
  await Promise.all(both.map((memory) => memory.release()));
  const [one, other] = await Promise.all(both.map((_, i) => readFile(join(folder, `${i}`))));
  const pages = both[0]!.runs.reduce((sum, { count }) => sum + count, 0);
  expect(pages * PAGE_BYTES).toBeGreaterThan(9 * 1024 ** 2);
  expect(one!.length).toBe(pages * PAGE_BYTES);
  expect(one!.equals(other!)).toBe(true);

  process.kill(pid!, "SIGKILL");
  await sandbox.inspect();
  await expect(read()).rejects.toMatchObject({ code: expect.stringMatching(/unavailable|internal/) });
});
