import { afterAll, beforeAll, expect, test } from "vitest";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Two sandboxes from one stored state must never act as one. */
let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("identity", { ownTemplates: true });
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const SCRIPT =
  "head -c 32 /dev/urandom | sha256sum; cat /proc/sys/kernel/random/uuid; cat /etc/machine-id; hostname";

test("ten sandboxes of one template differ in entropy, machine id and host name", async () => {
  const outputs: string[][] = [];
  for (let i = 0; i < 10; i++) {
    const sandbox = await driver.create();
    outputs.push((await sandbox.shell(SCRIPT)).stdout.trim().split("\n"));
    await sandbox.remove({ force: true });
  }
  for (const column of [0, 1, 2, 3]) {
    expect(new Set(outputs.map((lines) => lines[column])).size).toBe(10);
  }
  expect((await driver.files("templates")).length).toBe(1);
});

test("the clock is right and the host name is the sandbox's", async () => {
  await using sandbox = await driver.create({ name: "clock" });
  const before = Date.now();
  const { stdout } = await sandbox.shell("hostname; date +%s; cat /etc/hostname");
  const after = Date.now();
  const [name, seconds, file] = stdout.trim().split("\n");
  expect(name).toBe("clock");
  expect(file).toBe("clock");
  expect(Number(seconds) * 1000).toBeGreaterThan(before - 2_000);
  expect(Number(seconds) * 1000).toBeLessThan(after + 2_000);
});
