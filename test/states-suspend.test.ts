import { afterAll, beforeAll, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { COUNT, countOf, countsOn } from "./counter.ts";
import { clockError, WRONG_MS } from "./guest-clock.ts";
import { BASE_IMAGE, SandboxDriver, until } from "./sandbox-driver.ts";

/** Sandboxes that are a state on the disk and no VM, and go on when somebody uses them. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("suspend");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const goesOn = async (sandbox: Sandbox, from: number) => {
  const now = await countsOn(sandbox);
  expect(now).toBeGreaterThanOrEqual(from);
  // What it counted while nobody looked it has counted since it woke.
  expect(now).toBeLessThan(from + 1000);
};
const stateOf = async (sandbox: Sandbox) => (await sandbox.inspect()).state;
const woken = ({ name }: Sandbox) =>
  driver
    .seen("sandbox.woken")
    .filter(({ data }) => data.name === name)
    .map(({ message }) => message);
/** What a sandbox that is suspended may have on the host: its folder and its state. */
const nothingRuns = async () => {
  expect(await driver.vmPids()).toEqual([]);
  expect((await driver.files("run")).filter((name) => !name.startsWith("daemon."))).toEqual([]);
};

test("has no process, and goes on by itself when it is used, with the right time", async () => {
  await using sandbox = await driver.create({
    name: "sleeper",
    command: ["sh", "-c", COUNT],
    network: { ports: [{ host: 0, guest: 8000 }] },
  });
  await sandbox.shell("mkdir /www && echo hello > /www/index.html && httpd -p 8000 -h /www");
  await countsOn(sandbox);
  const [port] = sandbox.info.ports!;
  const page = async () => (await fetch(`http://127.0.0.1:${port!.host}/`)).text();
  const uses: [() => Promise<unknown>, string, unknown][] = [
    [async () => (await sandbox.exec("echo", ["back"])).stdout, "a command is run in it", "back\n"],
    [() => sandbox.files.readText("/www/index.html"), "its files are used", "hello\n"],
    [page, "somebody connects to a port of it", "hello\n"],
  ];
  for (const [use, why, answer] of uses) {
    const before = await countOf(sandbox);
    expect((await driver.msb(["suspend", "sleeper"])).stdout).toBe("sleeper\n");
    expect(await stateOf(sandbox)).toBe("suspended");
    await nothingRuns();
    expect(await driver.files("states")).toHaveLength(1);
    expect(await use()).toBe(answer);
    expect(await stateOf(sandbox)).toBe("running");
    expect(woken(sandbox).at(-1)).toBe(why);
    await goesOn(sandbox, before);
    expect((await driver.files("states")).filter((name) => !name.endsWith(".memory"))).toEqual([]);
  }
  await sandbox.suspend();
  await sandbox.resume();
  expect(woken(sandbox)).toHaveLength(3);
  expect(await page()).toBe("hello\n");
  expect(await clockError(sandbox)).toBeLessThanOrEqual(WRONG_MS);
});

test("is still so for the next daemon, where whoever comes wakes it too", async () => {
  await using sandbox = await driver.create({
    name: "kept",
    command: ["sh", "-c", COUNT],
    network: { ports: [{ host: 0, guest: 8000 }] },
  });
  await sandbox.shell("mkdir /www && echo hello > /www/index.html && httpd -p 8000 -h /www");
  await sandbox.suspend();
  const [port] = sandbox.info.ports!;
  await driver.killDaemon();
  expect(await stateOf(sandbox)).toBe("suspended");
  await nothingRuns();
  expect(await (await fetch(`http://127.0.0.1:${port!.host}/`)).text()).toBe("hello\n");
  expect(await stateOf(sandbox)).toBe("running");
  await countsOn(sandbox);
  expect((await sandbox.processes.list()).map(({ info }) => [info.main, info.state])).toContainEqual([
    true,
    "running",
  ]);
});

test("is stopped as any other, and killed without being loaded; its files stay", async () => {
  await using sandbox = await driver.create({ name: "ended", command: ["sh", "-c", COUNT] });
  await sandbox.shell("echo kept > /root/file");
  await sandbox.suspend();
  await sandbox.stop();
  expect(await stateOf(sandbox)).toBe("stopped");
  await nothingRuns();
  expect(await driver.files("states")).toEqual([]);
  await sandbox.start();
  expect((await sandbox.shell("cat /root/file; echo more > /root/more; sync")).stdout).toBe("kept\n");
  await sandbox.suspend();
  await sandbox.kill();
  expect(await stateOf(sandbox)).toBe("stopped");
  expect(await driver.files("states")).toEqual([]);
  await sandbox.start();
  expect((await sandbox.shell("cat /root/file /root/more")).stdout).toBe("kept\nmore\n");
  await sandbox.suspend();
  await sandbox.remove({ force: true });
  await nothingRuns();
  expect(await driver.files("states")).toEqual([]);
  expect(await driver.files("sandboxes")).toEqual([]);
});

test("many who use it at once wake it once", async () => {
  await using sandbox = await driver.create({ name: "wanted" });
  await sandbox.suspend();
  const all = await Promise.all([1, 2, 3, 4].map(() => sandbox.exec("echo", ["at once"])));
  expect(all.map(({ stdout }) => stdout)).toEqual(Array(4).fill("at once\n"));
  expect(woken(sandbox)).toHaveLength(1);
  expect(await driver.vmPids()).toHaveLength(1);
  const refused = await driver.msb(["resume", "wanted"]);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("'wanted' is running") });
});

test("becomes so by itself when it is idle, if it is asked to", async () => {
  const created = await driver.msb([
    ...["create", "--name", "idle", "--idle-timeout", "1500ms", "--on-idle", "suspend"],
    BASE_IMAGE,
  ]);
  expect(created.code).toBe(0);
  await using sandbox = await Sandbox.get("idle", { connection: driver.connection });
  const suspended = async () => (await stateOf(sandbox)) === "suspended";
  await until(suspended, "it is suspended");
  expect(sandbox.info.reason).toBe("it was idle for 1.5 s");
  // It is suspended before its VM has ended, which whoever asks for it waits for.
  await until(
    async () => (await driver.files("run")).every((name) => name.startsWith("daemon.")),
    "its VM ends",
  );
  await nothingRuns();
  expect((await sandbox.exec("echo", ["back"])).stdout).toBe("back\n");
  await until(suspended, "it is suspended again");
});

test("a sandbox that uses its volume has it when it goes on, and another may not take it meanwhile", async () => {
  const mounts = [{ type: "volume" as const, name: "data", target: "/data" }];
  await using sandbox = await driver.create({ name: "holder", mounts });
  await sandbox.shell("echo one > /data/file");
  await sandbox.suspend();
  await expect(driver.create({ mounts })).rejects.toMatchObject({ code: "invalid_state" });
  expect((await sandbox.shell("cat /data/file; echo two >> /data/file")).stdout).toBe("one\n");
  await sandbox.suspend();
  await sandbox.kill();
  await using next = await driver.create({ mounts });
  expect((await next.shell("cat /data/file")).stdout).toBe("one\ntwo\n");
});

test("is the same sandbox when it goes on: what is renewed in another one it keeps", async () => {
  await using sandbox = await driver.create({ name: "same" });
  const hook = "/etc/msb/on-restore.d/say";
  await sandbox.shell(
    `mkdir -p /etc/msb/on-restore.d; printf '#!/bin/sh\\ntouch /root/renewed\\n' > ${hook}; chmod +x ${hook}`,
  );
  const who = async (box: Sandbox) => (await box.shell("cat /etc/machine-id /etc/hostname; ls /root")).stdout;
  const before = await who(sandbox);
  await sandbox.suspend();
  expect(await who(sandbox)).toBe(before);
  const [other] = await sandbox.fork({ name: "other" });
  expect(await who(other!)).toMatch(/^[0-9a-f]{32}\nother\nrenewed\n$/);
  expect(await who(other!)).not.toContain(before.split("\n")[0]);
  await other!.remove({ force: true });
});
