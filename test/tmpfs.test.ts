import { afterAll, beforeAll, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** tmpfs mounts: there before the first process, as large as was asked for, and gone with the VM. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("tmpfs");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

test("are there with size, mode and missing mount points, parents before children", async () => {
  const sandbox = await driver.create({
    mounts: [
      { type: "tmpfs", target: "/a/b/inner", sizeMiB: 2, mode: 0o700 },
      { type: "tmpfs", target: "/a", sizeMiB: 8 },
    ],
  });
  const { stdout } = await sandbox.shell(
    "stat -c '%a %n' /a /a/b/inner; grep -c ' /a tmpfs ' /proc/mounts; " +
      "grep -c ' /a/b/inner tmpfs ' /proc/mounts; df -k /a /a/b/inner | awk 'NR > 1 { print $2 }'",
  );
  expect(stdout).toBe("1777 /a\n700 /a/b/inner\n1\n1\n8192\n2048\n");
  const full = await sandbox.shell("dd if=/dev/zero of=/a/b/inner/x bs=1M count=3");
  expect(full.exitCode).not.toBe(0);
  expect(full.stderr).toMatch(/No space left/);
  await sandbox.remove({ force: true });
});

test("are empty again after a restart, and the first process finds them", async () => {
  const sandbox = await driver.create({ mounts: [{ type: "tmpfs", target: "/scratch" }] });
  await sandbox.shell("echo x > /scratch/file; echo kept > /root/file");
  await sandbox.stop();
  await sandbox.start();
  const { stdout } = await sandbox.shell("ls /scratch; cat /root/file");
  expect(stdout).toBe("kept\n");
  await sandbox.remove({ force: true });
  const run = await driver.msb(["run", "--tmpfs", "/s:size=3M,mode=0711", "msb/base", "stat", "-c%a", "/s"]);
  expect(run).toMatchObject({ code: 0, stdout: "711\n" });
});

test("a mount point that is a file is refused, and nothing is left", async () => {
  const mounts = [{ type: "tmpfs" as const, target: "/etc/passwd" }];
  await expect(driver.create({ mounts })).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining("/etc/passwd"),
  });
  expect(await Sandbox.list({ connection: driver.connection })).toEqual([]);
  expect(await driver.vmPids()).toEqual([]);
});

test("/proc, /sys and /dev are refused before anything starts", async () => {
  const run = await driver.msb(["run", "--tmpfs", "/proc/x", "msb/base", "true"]);
  expect(run.code).toBe(125);
  expect(run.stderr).toContain("/proc");
});
