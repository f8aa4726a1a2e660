import { access, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, Daemon, Sandbox, SandboxError } from "../src/sdk/index.ts";
import { traces } from "./fails.ts";
import { BASE_IMAGE, ended, isAlive, SandboxDriver, until } from "./sandbox-driver.ts";

/** Exit code of `msb run` for an error of ours; 126 and 127 are the command's. */
const OURS = 125;

describe("a VM ends", () => {
  let driver: SandboxDriver;
  let bystander: Sandbox;
  beforeAll(async () => {
    driver = await SandboxDriver.open("ends");
    bystander = await driver.create({ name: "bystander" });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  /** The sandbox has failed for this reason; of its VM nothing is left, it can be removed, and nobody else was touched. */
  async function hasFailed(sandbox: Sandbox, reason: RegExp): Promise<void> {
    await until(async () => (await sandbox.inspect()).state === "failed", `${sandbox.name} has failed`);
    expect(sandbox.info.reason).toMatch(reason);
    await expect(sandbox.exec("true")).rejects.toMatchObject({
      code: "invalid_state",
      message: expect.stringContaining(sandbox.name),
      hint: expect.stringContaining("msb start"),
    });
    expect(await driver.vmPids()).toHaveLength(1);
    expect((await traces(driver)).run).toEqual([bystander.id.slice(0, 8)]);
    expect((await bystander.exec("echo", ["untouched"])).stdout).toBe("untouched\n");
    await sandbox.remove();
    expect(await driver.files("sandboxes")).toEqual([bystander.id]);
  }

  test("because its kernel panics: the kernel's own words are the reason", async () => {
    const sandbox = await driver.create({ name: "panics" });
    const last = sandbox.shell("echo c > /proc/sysrq-trigger");
    await expect(last).rejects.toMatchObject({ code: "unavailable" });
    await hasFailed(sandbox, /kernel panicked: sysrq triggered crash/);
  });

  test("because QEMU is killed: the signal is the reason", async () => {
    const sandbox = await driver.create({ name: "killed" });
    const others = await Promise.all([bystander].map(async () => driver.vmPids()));
    const running = sandbox.exec("sleep", ["1000"]);
    running.catch(() => {});
    const own = await ownVm(sandbox);
    expect(others[0]).toContain(own);
    process.kill(own, "SIGKILL");
    await expect(running).rejects.toMatchObject({ code: "unavailable" });
    await hasFailed(sandbox, /ended unexpectedly \(.*(9|KILL)\)/);
  });

  test("because the process that keeps its jail is killed: QEMU goes with it", async () => {
    const sandbox = await driver.create({ name: "jailless" });
    const pid = await ownVm(sandbox);
    const parent = Number(/\) \S+ (\d+)/.exec(await readFile(`/proc/${pid}/stat`, "latin1"))![1]);
    process.kill(parent, "SIGKILL");
    await hasFailed(sandbox, /ended unexpectedly/);
    await until(async () => !(await isAlive(pid)), "its QEMU is gone");
  });

  /** The VM that listens on this sandbox's sockets. */
  async function ownVm(sandbox: Sandbox): Promise<number> {
    for (const pid of await driver.vmPids()) {
      const mounts = await readFile(`/proc/${pid}/mountinfo`, "utf8");
      if (mounts.includes(sandbox.id)) return pid;
    }
    throw new Error(`no VM of ${sandbox.name}`);
  }
});

describe("the daemon", () => {
  test("that died left its socket: the next one takes its place", async () => {
    await using driver = await SandboxDriver.open("stale", { image: false });
    await Daemon.start({ connection: driver.connection });
    const first = await driver.daemonPid();
    await driver.killDaemon();
    await access(join(driver.home, "run/daemon.sock"));
    expect((await driver.msb(["ls"])).code).toBe(0);
    expect(await driver.daemonPid()).not.toBe(first);
    // Nor does anything else that lies there stand in the way.
    await driver.killDaemon();
    await rm(join(driver.home, "run/daemon.sock"));
    await writeFile(join(driver.home, "run/daemon.sock"), "no socket");
    expect((await driver.msb(["ls"])).code).toBe(0);
  });

  test("is one, however many start it at once", async () => {
    await using driver = await SandboxDriver.open("race", { image: false });
    const starts = await Promise.all(
      Array.from({ length: 5 }, () => ended(driver.startMsb(["daemon", "start"]))),
    );
    expect(starts.map(({ code, stderr }) => [code, stderr])).toEqual(starts.map(() => [0, ""]));
    const pid = await driver.daemonPid();
    for (const { stdout } of starts) expect(stdout).toContain(`process ${pid}`);
    await until(async () => (await driver.daemonPids()).length === 1, "only one is left");
    expect(await driver.daemonPids()).toEqual([pid]);
  });

  for (const [what, home, code] of [
    ["cannot be written", "/proc/msb", "permission_denied"],
    ["is a file", "/etc/passwd", "permission_denied"],
    ["is too long for a socket", `/tmp/${"m".repeat(100)}`, "invalid_argument"],
  ] as const) {
    test(`says so when MSB_HOME ${what}`, async () => {
      const connection = connect({ home });
      const error = await Sandbox.list({ connection }).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(SandboxError);
      expect(error).toMatchObject({ code, message: expect.stringContaining(home) });
      expect(error.hint).toMatch(/MSB_HOME|path/);
      await using driver = await SandboxDriver.open("home", { image: false });
      const { code: exit, stderr } = await ended(
        driver.startMsb(["run", BASE_IMAGE, "--", "true"], { MSB_HOME: home }),
      );
      expect([exit, stderr]).toEqual([OURS, expect.stringMatching(/^hint: /m)]);
      if (home.startsWith("/tmp/")) await rm(home, { recursive: true, force: true });
    });
  }
});
