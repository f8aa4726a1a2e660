import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { ended, firstOutput, isAlive, SandboxDriver, until } from "./sandbox-driver.ts";

/** The daemon may die at any instant: no sandbox, no file and no output that the guest still held is lost. */
describe("when the daemon is killed", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("crash");
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const logOf = async (sandbox: Sandbox): Promise<string> => {
    const records = await Array.fromAsync(sandbox.logs());
    return records.map((record) => record.text ?? "").join("");
  };

  test("five running sandboxes go on, and the next daemon takes them over", async () => {
    const counter = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    const sandboxes: Sandbox[] = [];
    for (let n = 0; n < 5; n++)
      sandboxes.push(await driver.create({ name: `survivor-${n}`, command: ["sh", "-c", counter] }));
    await Promise.all(sandboxes.map((s) => s.shell("echo before > /root/file")));
    await until(async () => (await logOf(sandboxes[4]!)).includes("10\n"), "the last of them has counted");
    const before = await driver.vmPids();
    expect(before).toHaveLength(5);

    await driver.killDaemon();
    expect(await driver.vmPids()).toEqual(before);

    const listed = await Sandbox.list({ connection: driver.connection });
    expect(listed.map((s) => [s.name, s.info.state])).toEqual(sandboxes.map((s) => [s.name, "running"]));
    expect(await driver.vmPids()).toEqual(before);
    for (const sandbox of listed) {
      expect((await sandbox.shell("cat /root/file; echo again")).stdout).toBe("before\nagain\n");
    }
    // What they counted while no daemon ran is in their logs: no number is missing, none is there twice.
    for (const sandbox of listed) {
      const count = (await logOf(sandbox)).trim().split("\n").map(Number).at(-1)!;
      await until(async () => (await logOf(sandbox)).trim().split("\n").length > count + 5, "it counts on");
      const numbers = (await logOf(sandbox)).match(/^\d+$/gm)!.map(Number);
      expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => i + 1));
    }
    for (const sandbox of listed) await sandbox.remove({ force: true });
  });

  test("what overflows the guest's buffer meanwhile is reported as lost, and the rest is whole", async () => {
    // 3 MB without a daemon, in lines of 32 bytes; the guest keeps 1 MiB.
    const script =
      "read go; i=0; while [ $i -lt 40 ]; do i=$((i+1)); dd if=/dev/zero bs=75000 count=1 2>/dev/null | tr '\\000' x; done; echo; echo END; sleep 1000";
    const sandbox = await driver.create({ name: "overflow" });
    const process = sandbox.execStream("sh", [
      "-c",
      `trap '' HUP; echo ready; sleep 1; : < /dev/null; ${script.replace("read go; ", "")}`,
    ]);
    for await (const event of process) if ("data" in event) break;
    await driver.killDaemon();
    // The guest runs on; nobody can look into it until a daemon is back, which ends the test's premise. So the script sleeps
    // a second before it writes, and the daemon comes back when the VM has become idle again.
    const [pid] = await driver.vmPids();
    await untilIdle(pid!);
    const again = await Sandbox.get("overflow", { connection: driver.connection });
    await until(async () => (await logOf(again)).includes("END\n"), "the end is in the log");
    const records = await Array.fromAsync(again.logs());
    const loss = records.find((record) => record.stream === "system");
    expect(loss?.text).toMatch(/^\d+ bytes of stdout were lost while no daemon ran\n$/);
    const lost = Number(/^\d+/.exec(loss!.text!)![0]);
    const kept = records
      .filter((r) => r.stream === "stdout")
      .reduce((sum, r) => sum + Buffer.byteLength(r.text ?? ""), 0);
    expect(kept + lost).toBe("ready\n".length + 40 * 75_000 + "\nEND\n".length);
    await again.remove({ force: true });
  });

  test("a run whose client and daemon are gone ends by itself and is removed", async () => {
    const run = driver.startMsb(["run", "msb/base", "--", "sh", "-c", "echo started; sleep 2; echo over"]);
    const end = ended(run);
    expect(await firstOutput(run)).toBe("started\n");
    const [pid] = await driver.vmPids();
    await driver.killDaemon();
    expect((await end).code).toBe(125);
    expect((await end).stderr).toMatch(/^msb: /m);
    const [sandbox] = await Sandbox.list({ connection: driver.connection });
    if (sandbox !== undefined) expect(await driver.vmPids()).toEqual([pid]);
    await until(async () => (await driver.vmPids()).length === 0, "its VM is gone");
    await until(async () => (await driver.files("sandboxes")).length === 0, "its folder is gone");
  });

  test("a VM that died meanwhile is told as failed, and can be started again with its files", async () => {
    const sandbox = await driver.create({ name: "gone" });
    await sandbox.shell("echo kept > /root/file; sync");
    const [pid] = await driver.vmPids();
    await driver.killDaemon();
    process.kill(pid!, "SIGKILL");
    await until(async () => (await driver.vmPids()).length === 0, "the VM is gone");
    const again = await Sandbox.get("gone", { connection: driver.connection });
    expect(again.info).toMatchObject({ state: "failed", reason: expect.stringContaining("no daemon") });
    await again.start();
    expect((await again.shell("cat /root/file")).stdout).toBe("kept\n");
    await again.remove({ force: true });
  });

  test("a sandbox that was just being started again keeps its files", async () => {
    const sandbox = await driver.create({ name: "again" });
    await sandbox.shell("echo kept > /root/file; sync");
    await sandbox.stop();
    const daemon = await driver.daemonPid();
    const starting = sandbox.start().catch((error) => error);
    await until(async () => (await driver.vmPids()).length > 0, "the start has begun");
    process.kill(daemon, "SIGKILL");
    await starting;
    await until(async () => !(await isAlive(daemon)), "the daemon is gone");
    const after = await Sandbox.get("again", { connection: driver.connection });
    if (after.info.state !== "running") {
      expect(after.info).toMatchObject({
        state: "failed",
        reason: expect.stringContaining("while it started"),
      });
      await after.start();
    }
    expect((await after.shell("cat /root/file")).stdout).toBe("kept\n");
    await after.remove({ force: true });
  });

  test("a create that it was in the middle of leaves nothing", async () => {
    const daemon = await driver.daemonPid();
    const creating = driver.create({ name: "halfway" }).catch((error) => error);
    await until(async () => (await driver.files("sandboxes")).length > 0, "the create has begun");
    process.kill(daemon, "SIGKILL");
    await expect(creating).resolves.toMatchObject({ code: "unavailable" });
    await until(async () => !(await isAlive(daemon)), "the daemon is gone");
    expect(await Sandbox.list({ connection: driver.connection })).toEqual([]);
    await until(async () => (await driver.vmPids()).length === 0, "no VM is left");
    await until(async () => (await driver.files("sandboxes")).length === 0, "no folder is left");
  });
});

/** Waits until a VM has used no CPU to speak of for a while: three readings in a row, each 200 ms after the other. */
async function untilIdle(pid: number): Promise<void> {
  const { readFile } = await import("node:fs/promises");
  const ticks = async () => {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  let last = await ticks();
  let worked = false;
  let idle = 0;
  await until(async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const now = await ticks();
    worked ||= now - last > 5;
    idle = now - last <= 1 ? idle + 1 : 0;
    last = now;
    return worked && idle >= 3;
  }, "the VM has become idle");
}
