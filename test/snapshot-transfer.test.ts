import { createReadStream } from "node:fs";
import { chmod, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Sandbox, Snapshot } from "../src/sdk/index.ts";
import { COUNT, countOf, countsOn } from "./counter.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Snapshots on their way from one home to another, and what is not let in. */
let here: SandboxDriver;
let there: SandboxDriver;
let folder: string;
let parent: Sandbox;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-transfer-"));
  here = await SandboxDriver.open("transfer-here");
  there = await SandboxDriver.open("transfer-there");
  parent = await here.create({ name: "parent" });
  await parent.shell("echo kept >/root/file; echo remembered >/dev/shm/memory; sync");
  await parent.processes.start("sh", ["-c", COUNT]);
  await countsOn(parent);
});
afterAll(async () => {
  await here?.[Symbol.asyncDispose]();
  await there?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test("a sandbox that runs goes on in another home, from an encrypted file", async () => {
  const file = join(folder, "running.msb");
  const counted = await countOf(parent);
  const snapshot = await parent.snapshot({ name: "before" });
  await snapshot.export({ to: file, passphrase: "correct horse" });
  await expect(
    Snapshot.import(createReadStream(file), { connection: there.connection, passphrase: "wrong" }),
  ).rejects.toMatchObject({ code: "unauthenticated", message: "the passphrase is wrong" });
  expect(await there.files("states")).toEqual([]);

  const imported = await Snapshot.import(createReadStream(file), {
    connection: there.connection,
    passphrase: "correct horse",
  });
  expect(imported.info).toMatchObject({ name: "before", kind: "running" });
  const [first, second] = await imported.restore({ name: "child", count: 2 });
  for (const child of [first!, second!]) {
    there.explainFailureOf(child);
    expect((await child.shell("cat /root/file /dev/shm/memory")).stdout).toBe("kept\nremembered\n");
    expect(await countsOn(child)).toBeGreaterThanOrEqual(counted);
  }
  // They share the memory that they were loaded from.
  const inodes = await Promise.all(
    (await there.files("sandboxes")).map(
      async (id) => (await stat(join(there.home, "sandboxes", id, "origin/memory"))).ino,
    ),
  );
  expect(inodes).toHaveLength(2);
  expect(new Set(inodes).size).toBe(1);
  for (const child of [first!, second!]) await child.remove({ force: true });
});

test("a snapshot that is damaged is not loaded, and says which file it is", async () => {
  const snapshot = await Snapshot.get("before", { connection: there.connection });
  const pages = join(there.home, "states", snapshot.info.id, "delta/0.pages");
  await chmod(pages, 0o600);
  await using file = await open(pages, "r+");
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 5000);
  await file.write(Buffer.from([buffer[0]! ^ 1]), 0, 1, 5000);
  const damaged = { code: "internal", message: expect.stringContaining("delta/0.pages has changed") };
  await expect(snapshot.restore()).rejects.toMatchObject(damaged);
  await expect(snapshot.verify()).rejects.toMatchObject(damaged);
  expect(await there.vmPids()).toEqual([]);
  expect(await there.files("sandboxes")).toEqual([]);
  await snapshot.remove();
  expect(await there.files("states")).toEqual([]);
});

test("one with a folder of its host is not let in", async () => {
  const shared = join(folder, "shared");
  await rm(shared, { recursive: true, force: true });
  await mkdir(shared);
  await writeFile(join(shared, "file"), "of the host");
  await using sandbox = await here.create({
    name: "with-folder",
    mounts: [{ type: "folder", source: shared, target: "/mnt" }],
  });
  const snapshot = await sandbox.snapshot({ name: "with-folder" });
  const file = join(folder, "folder.msb");
  await snapshot.export({ to: file });
  await expect(
    Snapshot.import(createReadStream(file), { connection: there.connection }),
  ).rejects.toMatchObject({ code: "unsupported", message: expect.stringContaining(shared) });
  expect(await readdir(join(there.home, "states"))).toEqual([]);
  expect(await readFile(join(shared, "file"), "utf8")).toBe("of the host");
});
