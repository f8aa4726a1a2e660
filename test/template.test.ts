import { createHash } from "node:crypto";
import { chmod, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Sandbox, Template, type TemplateInfo } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Stored VM states: built once, found again, and thrown away when they are not what they were. */

const isRoot = process.getuid?.() === 0;
const MEMORY_MIB = 256;

describe("a template", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("template", { ownTemplates: true });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const built = () => driver.seen("template.built");

  test("is built once, also when ten creates ask at the same moment", async () => {
    const progress: string[] = [];
    const sandboxes = await Promise.all(
      Array.from({ length: 10 }, () => driver.create({ onProgress: ({ task }) => progress.push(task) })),
    );
    const answers = await Promise.all(sandboxes.map((s, i) => s.exec("echo", [String(i)])));
    expect(answers.map(({ stdout }) => stdout)).toEqual(sandboxes.map((_, i) => `${i}\n`));
    expect(await driver.files("templates")).toHaveLength(1);
    expect(built().map(({ data }) => data)).toMatchObject([{ cpus: 1, memoryMiB: MEMORY_MIB }]);
    // Whoever waits is told what for.
    expect(progress).toContainEqual(expect.stringContaining(`template for 1 CPU and ${MEMORY_MIB} MiB`));
    await Promise.all(sandboxes.map((sandbox) => sandbox.remove({ force: true })));
  });

  test("says in its manifest what it is of and what it holds", async () => {
    const [key] = await driver.files("templates");
    const folder = join(driver.home, "templates", key!);
    const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
    const state = await readFile(join(folder, "state"));
    expect(manifest).toMatchObject({
      version: 1,
      key,
      inputs: { cpus: 1, memoryMiB: MEMORY_MIB, vmm: "qemu" },
      memory: { bytes: MEMORY_MIB * 1024 ** 2 },
      state: { bytes: state.length, sha256: sha256(state) },
    });
    expect((await stat(join(folder, "memory"))).size).toBe(MEMORY_MIB * 1024 ** 2);
  });

  test("is written by nobody any more", async () => {
    const [key] = await driver.files("templates");
    const folder = join(driver.home, "templates", key!);
    const names = await readdir(folder);
    expect(names).toEqual(expect.arrayContaining(["manifest.json", "memory", "state"]));
    for (const name of ["", ...names]) {
      const { mode, uid } = await stat(join(folder, name));
      if (name !== "") expect([name, (mode & 0o777).toString(8)]).toEqual([name, "444"]);
      else expect(mode & 0o022).toBe(0);
      // Not left to the uid of the VMM that made it, which a later sandbox's may get.
      expect([name, uid]).toEqual([name, process.getuid?.()]);
    }
  });

  test("shares its memory: idle sandboxes cost far less than their size", async () => {
    const sandboxes = [await driver.create(), await driver.create()];
    try {
      for (const sandbox of sandboxes) await sandbox.exec("true");
      const pids = await driver.vmPids();
      expect(pids).toHaveLength(2);
      for (const pid of pids) {
        const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
        const kib = [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce(
          (sum, [, n]) => sum + Number(n),
          0,
        );
        expect(kib / 1024).toBeLessThan(MEMORY_MIB / 3);
      }
    } finally {
      for (const sandbox of sandboxes) await sandbox.remove({ force: true });
    }
  });

  test("can be listed, built beforehand and removed", async () => {
    const before: TemplateInfo[] = JSON.parse((await driver.msb(["template", "ls", "--json"])).stdout);
    expect(before).toMatchObject([{ shape: { cpus: 1, memoryMiB: MEMORY_MIB }, usable: true }]);
    expect(before[0]!.memoryBytes).toBeGreaterThan(10 * 1024 ** 2);
    expect(before[0]!.memoryBytes).toBeLessThan(MEMORY_MIB * 1024 ** 2);

    const build = ["template", "build", "--memory", "160M", "--json"];
    const first: TemplateInfo = JSON.parse((await driver.msb(build)).stdout);
    expect(first).toMatchObject({ shape: { cpus: 1, memoryMiB: 160 }, usable: true });
    // A second time nothing is built.
    expect(JSON.parse((await driver.msb(build)).stdout)).toEqual(first);
    expect(built()).toHaveLength(2);

    const listed = await driver.msb(["template", "ls"]);
    expect(listed.stdout).toContain(first.key.slice(0, 12));
    const running = await driver.create({ memoryMiB: 160 });
    expect(built()).toHaveLength(2);

    expect((await driver.msb(["template", "rm", first.key.slice(0, 10)])).code).toBe(0);
    expect(await driver.files("templates")).toEqual([before[0]!.key]);
    // What was loaded from it goes on: the file is there as long as somebody maps it.
    expect((await running.exec("cat", ["/proc/loadavg"])).exitCode).toBe(0);
    expect((await running.shell("cat /usr/bin/busybox | sha256sum")).exitCode).toBe(0);
    await running.remove({ force: true });

    const unknown = await driver.msb(["template", "rm", first.key]);
    expect(unknown.code).not.toBe(0);
    expect(unknown.stderr).toMatch(/there is no template[\s\S]*hint: .*msb template ls/);
  });
});

describe("a template that is damaged", () => {
  let driver: SandboxDriver;
  let key: string;
  let folder: string;
  beforeAll(async () => {
    driver = await SandboxDriver.open("damaged", { ownTemplates: true });
    key = (await Template.build({ cpus: 1, memoryMiB: MEMORY_MIB }, { connection: driver.connection })).key;
    folder = join(driver.home, "templates", key);
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  let seen: { quarantined: number; built: number };
  beforeEach(async () => {
    seen = {
      quarantined: driver.seen("template.quarantined").length,
      built: driver.seen("template.built").length,
    };
    // A daemon looks at a template before it first uses it, and trusts its own read-only files from then on.
    await driver.killDaemon();
  });

  /** A create runs in spite of it all: the template was put aside with a reason and built again, once. */
  async function isReplaced(reason: RegExp): Promise<void> {
    const sandboxes: Sandbox[] = await Promise.all([driver.create(), driver.create()]);
    for (const sandbox of sandboxes) expect((await sandbox.exec("echo", ["fine"])).stdout).toBe("fine\n");
    const quarantined = driver.seen("template.quarantined").slice(seen.quarantined);
    expect(quarantined).toMatchObject([{ message: expect.stringMatching(reason), data: { key } }]);
    expect(driver.seen("template.built").length).toBe(seen.built + 1);
    // The damaged one is kept for whoever wants to know; nothing loads it.
    expect(await driver.files("templates")).toEqual([key, `${key}.bad`]);
    for (const sandbox of sandboxes) await sandbox.remove({ force: true });
    await until(async () => (await driver.vmPids()).length === 0, "no VM is left");
  }

  test("by a flipped bit in its device state is built again", async () => {
    await edit("state", (bytes) => {
      bytes[bytes.length >> 1]! ^= 1;
      return bytes;
    });
    await isReplaced(/device state has changed/);
  });

  test("by a memory file that is too short is built again", async () => {
    await chmod(join(folder, "memory"), 0o600);
    await truncate(join(folder, "memory"), 1024 ** 2);
    await isReplaced(/memory has 1048576 bytes/);
  });

  test("by a manifest that is no manifest is built again", async () => {
    await edit("manifest.json", () => Buffer.from("{}"));
    await isReplaced(/manifest cannot be read/);
  });

  test("in a way that no checksum tells: QEMU's refusal is the reason", async () => {
    const garbage = Buffer.alloc(4096, "not a state");
    await edit("state", () => garbage);
    await vouchFor(garbage);
    await isReplaced(/QEMU did not accept the stored state/);
  });

  test("by a state that ends half-way is built again", async () => {
    const half = await edit("state", (bytes) => bytes.subarray(0, bytes.length >> 1));
    await vouchFor(half);
    await isReplaced(/QEMU did not accept the stored state/);
  });

  /** Makes the manifest agree with a state that never was one. */
  async function vouchFor(state: Buffer): Promise<void> {
    await edit("manifest.json", (text) => {
      const manifest = JSON.parse(text.toString());
      return Buffer.from(
        JSON.stringify({ ...manifest, state: { bytes: state.length, sha256: sha256(state) } }),
      );
    });
  }

  async function edit(name: string, change: (bytes: Buffer) => Buffer): Promise<Buffer> {
    const path = join(folder, name);
    const changed = change(await readFile(path));
    await chmod(path, 0o600);
    await writeFile(path, changed);
    await chmod(path, 0o444);
    return changed;
  }
});

describe("a build that is interrupted", () => {
  test("leaves no template, no VM and no folder", async () => {
    await using driver = await SandboxDriver.open("interrupt", { ownTemplates: true });
    const building = Template.build(
      { cpus: 1, memoryMiB: MEMORY_MIB },
      { connection: driver.connection },
    ).catch((error) => error);
    // Not the guest that finds out which accelerator there is: the one whose state is to be stored.
    const half = async () => (await driver.files("templates")).some((name) => name.includes(".partial-"));
    await until(async () => (await half()) && (await driver.vmPids()).length > 0, "the guest boots");
    await driver.killDaemon();
    await expect(building).resolves.toMatchObject({ code: "unavailable" });

    expect(await Template.list({ connection: driver.connection })).toEqual([]);
    expect(await driver.files("templates")).toEqual([]);
    await until(async () => (await driver.vmPids()).length === 0, "the half-booted VM is gone");
    expect((await driver.files("run")).filter((name) => !name.startsWith("daemon."))).toEqual([]);

    await using sandbox = await driver.create();
    expect((await sandbox.exec("echo", ["built"])).stdout).toBe("built\n");
  });

  test.runIf(isRoot)("by the death of its guest says so, and the next create builds it", async () => {
    await using driver = await SandboxDriver.open("booting", { ownTemplates: true });
    const creating = driver.create({ name: "unlucky" }).catch((error) => error);
    const half = async () => (await driver.files("templates")).some((name) => name.includes("partial"));
    await until(async () => (await half()) && (await driver.vmPids()).length > 0, "the guest boots");
    for (const pid of await driver.vmPids()) process.kill(pid, "SIGKILL");
    expect(await creating).toMatchObject({ message: expect.stringMatching(/ended unexpectedly/) });
    expect(await driver.files("templates")).toEqual([]);
    expect(await driver.files("sandboxes")).toEqual([]);
    await using sandbox = await driver.create({ name: "unlucky" });
    expect((await sandbox.exec("echo", ["built"])).stdout).toBe("built\n");
  });
});

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
