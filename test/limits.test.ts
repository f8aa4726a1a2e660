import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** A sandbox that uses up all it has: it suffers, its agent does not, and nobody else notices. */
describe("limits", () => {
  let driver: SandboxDriver;
  let neighbour: Sandbox;

  beforeAll(async () => {
    driver = await SandboxDriver.open("limits");
    neighbour = await driver.create({ name: "neighbour" });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  /** The daemon, the neighbour and, if it is to be well, the sandbox itself answer. */
  async function nobodyNoticed(daemon: number, sandbox: Sandbox): Promise<void> {
    expect(await driver.daemonPid()).toBe(daemon);
    expect((await neighbour.exec("echo", ["untouched"])).stdout).toBe("untouched\n");
    expect((await sandbox.exec("echo", ["alive"])).stdout).toBe("alive\n");
  }

  /** Runs a script that is not waited for, and has written a line when it is in the middle of what it is about. */
  async function misbehave(sandbox: Sandbox, script: string) {
    const process = sandbox.execStream("sh", ["-c", script]);
    const begun = Promise.withResolvers<void>();
    const whole = (async () => {
      for await (const event of process) if ("data" in event) begun.resolve();
    })();
    whole.catch(begun.reject);
    await begun.promise;
    return process;
  }

  test("user processes have a little less than the VM", async () => {
    await using sandbox = await driver.create();
    const read = async (file: string) => Number((await sandbox.exec("cat", [file])).stdout);
    const total = Number((await sandbox.shell("awk '/MemTotal/ {print $2}' /proc/meminfo")).stdout) * 1024;
    const memory = await read("/sys/fs/cgroup/sandbox/memory.max");
    expect(memory).toBeGreaterThan(total / 2);
    expect(memory).toBeLessThan(total);
    const threads = await read("/proc/sys/kernel/threads-max");
    const processes = await read("/sys/fs/cgroup/sandbox/pids.max");
    expect(processes).toBeLessThan(threads);
    // Processes end before memory does, however small each is.
    expect(processes).toBeLessThanOrEqual(memory / (192 * 1024));
    const { stdout } = await sandbox.shell("cat /proc/self/cgroup /proc/1/cgroup /proc/self/oom_score_adj");
    expect(stdout).toMatch(/^0::\/sandbox\/\d+\n0::\/\n0\n$/);
  });

  // Bounds from below only: a slow machine is no reason to fail.
  test("the disks of a sandbox together serve no more bytes than it may have", async () => {
    await using sandbox = await driver.create({
      diskBytesPerSecond: 2 * 1024 ** 2,
      mounts: [{ type: "volume", name: "limited", target: "/data" }],
    });
    const begun = performance.now();
    const { exitCode } = await sandbox.shell(
      "for d in /root /data; do dd if=/dev/zero of=$d/f bs=64k count=64 conv=fsync & done; wait",
    );
    expect(exitCode).toBe(0);
    // 8 MiB at 2 MiB/s. Were each disk limited by itself, two seconds would do.
    expect(performance.now() - begun).toBeGreaterThan(3_000);
    // What is written under a limit is there after the next start.
    const sum = async () => (await sandbox.shell("sha256sum /root/f /data/f")).stdout;
    const before = await sum();
    await sandbox.stop();
    await sandbox.start();
    expect(await sum()).toBe(before);
  });

  test("nor more requests", async () => {
    await using sandbox = await driver.create({ diskIops: 100 });
    await sandbox.shell("dd if=/dev/zero of=/root/f bs=64k count=20 conv=fsync");
    const begun = performance.now();
    const { exitCode, stderr } = await sandbox.shell("dd if=/root/f of=/dev/null bs=4k iflag=direct");
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    // 320 requests.
    expect(performance.now() - begun).toBeGreaterThan(2_500);
  });

  test("a fork bomb leaves room for others, and is killed with all its tree", async () => {
    const daemon = await driver.daemonPid();
    await using sandbox = await driver.create();
    const read = async (name: string) =>
      Number((await sandbox.shell(`cat /sys/fs/cgroup/sandbox/pids.${name}`)).stdout);
    const most = await read("max");
    // In a session of its own: out of reach of a signal to the group.
    await sandbox.shell("echo 'b() { b & b & wait; }; b 2>/dev/null' >/bomb");
    const bomb = sandbox.shell("setsid sh /bomb & sleep 1000", { timeoutMs: 30_000 });
    bomb.catch(() => {});
    // But for those that are kept for others.
    await until(async () => (await read("current")) > most - 40, "there are as many as there can be");
    await nobodyNoticed(daemon, sandbox);
    // Nothing of a process that has run out of its time runs on.
    expect(await bomb).toMatchObject({ timedOut: true });
    await until(async () => (await read("current")) < 10, "the bomb is gone", 60_000);
  });

  test("a memory hog is killed, and it is told", async () => {
    const daemon = await driver.daemonPid();
    await using sandbox = await driver.create();
    const result = await sandbox.shell("tail /dev/zero");
    // The shell's child is what is taken; the shell says 137 of it. Alone, the process itself ends by KILL.
    expect(result.exitCode).toBe(137);
    const alone = await sandbox.exec("tail", ["/dev/zero"]);
    expect(alone).toMatchObject({ exitCode: 137, signal: "SIGKILL", outOfMemory: true });
    await nobodyNoticed(daemon, sandbox);
    const seen = () => driver.seen("sandbox.oom").filter(({ data }) => data.name === sandbox.name);
    await until(() => seen().length > 0, "the event was written");
    expect(seen()[0]!.message).toMatch(/^out of memory: the guest's kernel killed \d+ process/);
    const log = await Array.fromAsync(sandbox.logs());
    expect(log.filter(({ stream }) => stream === "system").map(({ text }) => text)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^out of memory: /)]),
    );
    // Who kills it otherwise is no lack of memory.
    const killed = await neighbour.shell("kill -9 $$");
    expect(killed).toMatchObject({ signal: "SIGKILL" });
    expect(killed.outOfMemory).toBe(false);
  });

  test("a full disk", async () => {
    const daemon = await driver.daemonPid();
    await using sandbox = await driver.create();
    // As much as is free but for 8 MiB at once, and then what is left until it is refused.
    const full = await sandbox.shell(
      `free=$(df -k / | awk 'NR==2 {print $4}')
       fallocate -l $(( (free - 8192) * 1024 )) /most && dd if=/dev/zero of=/rest bs=1M 2>&1; df -k / | awk 'NR==2 {print $4}'`,
    );
    expect(full.stdout).toMatch(/No space left on device/);
    await nobodyNoticed(daemon, sandbox);
    expect((await sandbox.shell("rm /most /rest && echo room > /again && cat /again")).stdout).toBe("room\n");
  });

  test("100,000 open files", async () => {
    const daemon = await driver.daemonPid();
    await using sandbox = await driver.create({ memoryMiB: 512 });
    // Each shell holds 1,000 open, and one that a limit stops says so.
    const script = `
      hold() { i=10; while [ $i -lt 1010 ]; do eval "exec $i</dev/null" || exit 1; i=$((i+1)); done; sleep 1000; }
      n=0; while [ $n -lt 100 ]; do hold & n=$((n+1)); done; echo begun; wait`;
    const process = await misbehave(sandbox, script);
    const open = async () => Number((await sandbox.shell("cut -f1 /proc/sys/fs/file-nr")).stdout);
    await until(async () => (await open()) > 100_000, "100,000 files are open", 120_000);
    await nobodyNoticed(daemon, sandbox);
    process.kill("SIGKILL");
    await process.exit.catch(() => {});
    await until(async () => (await open()) < 10_000, "they are closed");
  }, 240_000);

  test("a process that ignores TERM, and one that hides in a session of its own, end with their time", async () => {
    const daemon = await driver.daemonPid();
    await using sandbox = await driver.create();
    const script =
      "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.1; done' & trap '' TERM; wait; wait";
    // Long enough for a loaded machine to get as far as the trap.
    const result = await sandbox.shell(script, { timeoutMs: 10_000 });
    expect(result).toMatchObject({ signal: "SIGKILL", timedOut: true });
    expect(result.outOfMemory).toBe(false);
    const { stdout } = await sandbox.shell("ps | grep -c '[t]rap'");
    expect(stdout).toBe("0\n");
    await nobodyNoticed(daemon, sandbox);
  });
});
