import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

describe("the life of a sandbox", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("life");
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  test("what it wrote is there after a stop and a start", async () => {
    await using sandbox = await driver.create({ name: "keeps" });
    await sandbox.shell("echo kept > /root/file; mkdir -p /srv/data; sync");
    expect(await sandbox.stop()).toMatchObject({ state: "stopped" });
    expect(await driver.vmPids()).toEqual([]);
    expect(await sandbox.start()).toMatchObject({ state: "running" });
    expect((await sandbox.shell("cat /root/file; ls /srv")).stdout).toBe("kept\ndata\n");
  });

  test("a sandbox does not see what another wrote", async () => {
    await using one = await driver.create();
    await using two = await driver.create();
    await one.shell("echo mine > /shared; echo changed >> /etc/passwd");
    expect((await two.shell("cat /shared; tail -n 1 /etc/passwd")).stdout).not.toMatch(/mine|changed/);
  });

  test("its disk is as large as was asked for", async () => {
    await using sandbox = await driver.create({ diskMiB: 10_240 });
    const { stdout } = await sandbox.shell("df -m / | tail -n 1");
    const size = Number(stdout.trim().split(/\s+/)[1]);
    expect(size).toBeGreaterThan(9_500);
    expect(size).toBeLessThan(10_300);
  });

  test("several CPUs and more memory are seen by the guest", async () => {
    await using sandbox = await driver.create({ cpus: 2, memoryMiB: 384 });
    const { stdout } = await sandbox.shell("nproc; awk '/MemTotal/{print $2}' /proc/meminfo");
    const [cpus, kib] = stdout.trim().split("\n").map(Number);
    expect(cpus).toBe(2);
    expect(kib! / 1024).toBeGreaterThan(300);
  });

  test("a main command ends its sandbox, which tells the exit code", async () => {
    await using sandbox = await driver.create({ command: ["sh", "-c", "echo working; exit 9"] });
    await until(async () => (await sandbox.inspect()).state === "stopped", "the sandbox has stopped");
    expect(await sandbox.inspect()).toMatchObject({ exitCode: 9 });
    const log = await Array.fromAsync(sandbox.logs());
    expect(log.map((record) => record.text).join("")).toBe("working\n");
  });

  test("with autoRemove nothing is left when it ends", async () => {
    const sandbox = await driver.create({ name: "fleeting", command: ["true"], autoRemove: true });
    await until(async () => !(await driver.files("sandboxes")).includes(sandbox.id), "its folder is gone");
    await expect(Sandbox.get("fleeting", { connection: driver.connection })).rejects.toMatchObject({
      code: "not_found",
    });
    expect(await driver.files("run")).not.toContain(sandbox.id.slice(0, 8));
  });

  test("a guest that powers itself off is stopped, one that restarts has failed", async () => {
    await using off = await driver.create();
    await off.shell("poweroff -f &").catch(() => {});
    await until(async () => (await off.inspect()).state === "stopped", "it has stopped");
    await using reset = await driver.create();
    await reset.shell("reboot -f &").catch(() => {});
    await until(async () => (await reset.inspect()).state === "failed", "it has failed");
    expect((await reset.inspect()).reason).toContain("does not reboot");
  });

  test("a process that ignores TERM does not hold a stop beyond its grace", async () => {
    await using sandbox = await driver.create();
    const stubborn = sandbox.execStream("sh", ["-c", "trap '' TERM; echo on; while :; do sleep 0.05; done"]);
    for await (const event of stubborn) if ("data" in event) break;
    expect(await sandbox.stop({ graceMs: 100 })).toMatchObject({ state: "stopped" });
  });

  test("a kill ends at once what a stop is waiting for", async () => {
    await using sandbox = await driver.create();
    const stubborn = sandbox.execStream("sh", ["-c", "trap '' TERM; echo on; while :; do sleep 0.05; done"]);
    for await (const event of stubborn) if ("data" in event) break;
    const stopping = sandbox.stop({ graceMs: 50_000 });
    await until(async () => (await sandbox.inspect()).state === "stopping", "it is stopping");
    await sandbox.kill();
    expect(await stopping).toMatchObject({ state: "stopped" });
  });

  test("operations out of place are invalid_state, and say what to do", async () => {
    await using sandbox = await driver.create({ name: "placed" });
    await expect(sandbox.start()).rejects.toMatchObject({ code: "invalid_state" });
    await expect(sandbox.remove()).rejects.toMatchObject({
      code: "invalid_state",
      hint: expect.stringContaining("msb rm --force placed"),
    });
    await sandbox.stop();
    await expect(sandbox.stop()).rejects.toMatchObject({ code: "invalid_state" });
    await expect(sandbox.exec("true")).rejects.toMatchObject({
      code: "invalid_state",
      hint: expect.stringContaining("msb start placed"),
    });
  });

  test("a create that is cancelled leaves nothing", async () => {
    const controller = new AbortController();
    const creating = driver.create({ name: "cancelled", signal: controller.signal });
    setImmediate(() => controller.abort());
    await expect(creating).rejects.toMatchObject({ code: "cancelled" });
    await until(async () => (await driver.vmPids()).length === 0, "no VM is left");
    await until(
      async () =>
        (await Sandbox.list({ connection: driver.connection })).every((s) => s.name !== "cancelled"),
      "it is not listed",
    );
  });
});
