import { readFile } from "node:fs/promises";
import { finished } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** How long sandboxes run, and whether they answer. */
describe("a sandbox that runs", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("lifetime", { env: { MSB_HEARTBEAT_MS: "2000" } });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const stopped = (sandbox: Sandbox) =>
    until(async () => (await sandbox.inspect()).state === "stopped", `${sandbox.name} has stopped`);
  const expiries = ({ name }: Sandbox) =>
    driver
      .seen("sandbox.expired")
      .filter(({ data }) => data.name === name)
      .map(({ data }) => data.limit);

  test("for its longest time is stopped, whatever it does", async () => {
    const sandbox = await driver.create({ maxDurationMs: 3_000 });
    const { exitCode } = await sandbox.shell("sleep 1000");
    expect(exitCode).toBe(143);
    await stopped(sandbox);
    expect(sandbox.info.reason).toBe("it has run for its longest time, 3 s");
    expect(expiries(sandbox)).toEqual(["max-duration"]);
    // The time counts from each start.
    await sandbox.start();
    expect((await sandbox.exec("echo", ["again"])).stdout).toBe("again\n");
    expect(sandbox.info.reason).toBeUndefined();
  });

  test("and is idle is stopped; one that works, or whose work runs on, is not", async () => {
    // Long enough for a loaded machine to come from one line to the next.
    const idleTimeoutMs = 4_000;
    const busy = await driver.create({ idleTimeoutMs });
    const work = busy.exec("sleep", ["1000"]);
    work.catch(() => {});
    // A file is written to it, as slowly as somebody types.
    const written = await driver.create({ idleTimeoutMs });
    const writing = written.files.writeStream("/slow");
    writing.write("a");
    const idle = await driver.create({ idleTimeoutMs });
    await stopped(idle);
    expect(idle.info.reason).toBe("it was idle for 4 s");
    expect(expiries(idle)).toEqual(["idle-timeout"]);
    for (const used of [busy, written]) expect((await used.inspect()).state).toBe("running");
    await busy.shell("killall sleep");
    await work;
    writing.end("b");
    await finished(writing);
    await stopped(busy);
    await stopped(written);
  });

  test("keeps its limits when the daemon is killed", async () => {
    const long = await driver.create({ maxDurationMs: 15_000 });
    const idle = await driver.create({ idleTimeoutMs: 15_000 });
    await idle.exec("true");
    await driver.killDaemon();
    for (const sandbox of [long, idle]) {
      expect((await sandbox.inspect()).state).toBe("running");
      await stopped(sandbox);
    }
    const since = (at: string | undefined) => Date.parse(at!);
    expect(since(long.info.stoppedAt) - since(long.info.startedAt)).toBeGreaterThanOrEqual(15_000);
    expect([...expiries(long), ...expiries(idle)]).toEqual(["max-duration", "idle-timeout"]);
  });

  test("for one command says why it was stopped, and a command that msb stop ends does not", async () => {
    const ran = await driver.msb(["run", "--max-duration", "2s", "msb/base", "sleep", "1000"]);
    expect(ran).toMatchObject({
      code: 143,
      stdout: "",
      stderr: expect.stringMatching(/^msb: the sandbox was stopped: it has run for its longest time, 2 s$/m),
    });
    const sandbox = await driver.create();
    const work = sandbox.execStream("sleep", ["1000"]);
    await work.started;
    await sandbox.stop();
    const exit = await work.wait();
    expect(exit).toMatchObject({ exitCode: 143 });
    expect(exit.stopReason).toBeUndefined();
  });

  test("can be told its limits on the command line", async () => {
    const { code, stdout } = await driver.msb([
      "create",
      "--name",
      "told",
      "--max-duration",
      "1h",
      "--idle-timeout",
      "90s",
      "msb/base",
    ]);
    expect([code, stdout]).toEqual([0, "told\n"]);
    const { spec } = (await Sandbox.get("told", { connection: driver.connection })).info;
    expect(spec).toMatchObject({ maxDurationMs: 3_600_000, idleTimeoutMs: 90_000 });
    const wrong = await driver.msb(["create", "--idle-timeout", "90", "msb/base"]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/a duration needs a unit/);
  });

  test("and does not answer is reported as unresponsive, until it answers again", async () => {
    const sandbox = await driver.create({ name: "frozen" });
    const neighbour = await driver.create({ name: "awake" });
    expect(sandbox.info.health).toBe("responsive");
    const vm = await ownVm(sandbox);
    process.kill(vm, "SIGSTOP");
    try {
      await until(async () => (await sandbox.inspect()).health === "unresponsive", "it is unresponsive");
      const { stdout } = await driver.msb(["ls"]);
      expect(stdout).toMatch(/^frozen .* unresponsive /m);
      expect(stdout).toMatch(/^awake .* running /m);
      await until(async () => (await neighbour.inspect()).health === "responsive", "others are responsive");
    } finally {
      process.kill(vm, "SIGCONT");
    }
    await until(async () => (await sandbox.inspect()).health === "responsive", "it is responsive");
    expect((await sandbox.exec("echo", ["back"])).stdout).toBe("back\n");
    for (const what of ["unresponsive", "responsive"]) {
      expect(driver.seen(`sandbox.${what}`).map(({ data }) => data.name)).toContain("frozen");
    }
    await sandbox.kill();
    expect(sandbox.info.health).toBeUndefined();
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
