import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { COUNT, countsOn } from "./counter.ts";
import { clockError, WRONG_MS } from "./guest-clock.ts";
import { BASE_IMAGE, SandboxDriver, until } from "./sandbox-driver.ts";

/** Sandboxes that stand still, and go on. */
describe("a sandbox that is paused", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("pause", { env: { MSB_HEARTBEAT_MS: "2000" } });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const woken = ({ name }: Sandbox) =>
    driver
      .seen("sandbox.woken")
      .filter(({ data }) => data.name === name)
      .map(({ message }) => message);
  const cpuOf = async (sandbox: Sandbox) => (await sandbox.metrics()).host.cpuMs;

  test("stands still, is not taken for one that hangs, and goes on where it was, with the right time", async () => {
    await using sandbox = await driver.create({ name: "still" });
    await sandbox.processes.start("sh", ["-c", COUNT]);
    await countsOn(sandbox);
    expect((await driver.msb(["pause", "still"])).stdout).toBe("still\n");
    expect((await sandbox.inspect()).state).toBe("paused");
    const { guest, host } = await sandbox.metrics();
    expect(guest).toBeUndefined();
    // As long as its heart would have to be silent.
    const until4s = Date.now() + 4_500;
    await until(async () => Date.now() > until4s, "time goes by");
    expect((await cpuOf(sandbox)) - host.cpuMs).toBeLessThan(100);
    expect(driver.seen("sandbox.unresponsive").filter(({ data }) => data.name === "still")).toEqual([]);
    expect((await driver.msb(["resume", "still"])).stdout).toBe("still\n");
    expect(await clockError(sandbox)).toBeLessThanOrEqual(WRONG_MS);
    await countsOn(sandbox);
    expect(woken(sandbox)).toEqual([]);
    const wrong = await driver.msb(["resume", "still"]);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain("sandbox 'still' is running: it cannot be resumed");
  });

  test("goes on when somebody runs a command in it, uses its files, or stops it", async () => {
    const sandbox = await driver.create({ name: "used" });
    const uses: [() => Promise<unknown>, string][] = [
      [() => sandbox.exec("true"), "a command is run in it"],
      [() => sandbox.files.write("/a", "b"), "its files are used"],
    ];
    for (const [use, why] of uses) {
      await sandbox.pause();
      await use();
      expect((await sandbox.inspect()).state).toBe("running");
      expect(woken(sandbox).at(-1)).toBe(why);
    }
    await sandbox.pause();
    const all = await Promise.all([1, 2, 3].map(() => sandbox.exec("echo", ["at once"])));
    expect(all.map(({ stdout }) => stdout)).toEqual(Array(3).fill("at once\n"));
    expect(woken(sandbox)).toHaveLength(3);
    await sandbox.pause();
    await sandbox.stop();
    await sandbox.remove();
  });

  test("goes on when somebody connects to a port of it", async () => {
    await using sandbox = await driver.create({ network: { ports: [{ host: 0, guest: 8000 }] } });
    await sandbox.shell("mkdir /www && echo hello > /www/index.html && httpd -p 8000 -h /www");
    await sandbox.pause();
    const [port] = sandbox.info.ports!;
    expect(await (await fetch(`http://127.0.0.1:${port!.host}/`)).text()).toBe("hello\n");
    expect(woken(sandbox)).toEqual(["somebody connects to a port of it"]);
  });

  test("is still paused for the next daemon, with what ran in it", async () => {
    await using sandbox = await driver.create({ name: "kept", command: ["sh", "-c", COUNT] });
    await countsOn(sandbox);
    await sandbox.pause();
    await driver.killDaemon();
    expect((await sandbox.inspect()).state).toBe("paused");
    await countsOn(sandbox);
    expect((await sandbox.processes.list()).map(({ info }) => [info.main, info.state])).toContainEqual([
      true,
      "running",
    ]);
    await sandbox.pause();
    await sandbox.kill();
    expect((await sandbox.inspect()).state).toBe("stopped");
  });

  test("is found by the next daemon though it was in the middle of a word", async () => {
    const talk = `awk 'BEGIN { for (;;) { for (i = 0; i < 300; i++); print "on"; fflush() } }'`;
    await using sandbox = await driver.create({ name: "talking", command: ["sh", "-c", talk] });
    for (let i = 0; i < 4; i++) {
      await sandbox.exec("true");
      await sandbox.pause();
      await driver.killDaemon();
      expect((await sandbox.exec("echo", ["here"])).stdout).toBe("here\n");
    }
  });

  test("is so by itself when it is idle, if it is asked to be", async () => {
    const created = await driver.msb([
      ...["create", "--name", "idle", "--idle-timeout", "1500ms", "--on-idle", "pause"],
      BASE_IMAGE,
    ]);
    expect(created.code).toBe(0);
    await using sandbox = await Sandbox.get("idle", { connection: driver.connection });
    const paused = async () => (await sandbox.inspect()).state === "paused";
    await until(paused, "it is paused");
    expect(sandbox.info.reason).toBe("it was idle for 1.5 s");
    expect((await sandbox.exec("echo", ["back"])).stdout).toBe("back\n");
    await until(paused, "it is paused again");
  });

  test("whose VM dies is failed", async () => {
    const sandbox = await driver.create();
    await sandbox.pause();
    for (const pid of await driver.vmPids()) process.kill(pid, "SIGKILL");
    await until(async () => (await sandbox.inspect()).state === "failed", "it has failed");
    await expect(sandbox.exec("true")).rejects.toMatchObject({ code: "invalid_state" });
    await sandbox.remove();
  });
});
