import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttachedProcess, Sandbox, type SandboxProcess } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";
import { Screen } from "./screen.ts";

/** Processes that nobody waits for, and that somebody comes back to. */
describe("a process in the background", () => {
  let driver: SandboxDriver;
  let sandbox: Sandbox;
  beforeAll(async () => {
    driver = await SandboxDriver.open("background");
    sandbox = await driver.create({ name: "box" });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const sh = (script: string, options: Parameters<typeof sandbox.processes.start>[2] = {}) =>
    sandbox.processes.start("sh", ["-c", script], options);

  interface Taken {
    stdout: string;
    stderr: string;
    lost: number;
    exit: number | undefined;
  }

  /** All of an attached process's output until it ends, or until `enough`. */
  const take = async (attached: AttachedProcess, enough: (taken: Taken) => boolean = () => false) => {
    const taken: Taken = { stdout: "", stderr: "", lost: 0, exit: undefined };
    for await (const event of attached) {
      if (event.type === "output") taken[event.stream] += event.data.toString("latin1");
      else if (event.type === "lost") taken.lost += event.bytes;
      else taken.exit = event.exitCode;
      if (enough(taken)) break;
    }
    return taken;
  };

  const counted = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => `${from + i}\n`).join("");

  test("is listed, waited for, and told of when it has ended", async () => {
    const started = await sh("sleep 0.2; echo out; exit 3");
    expect(started.info).toMatchObject({
      state: "running",
      argv: ["sh", "-c", expect.any(String)],
      tty: false,
    });
    expect(started.info.pid).toBeGreaterThan(1);
    expect((await sandbox.processes.list()).map(({ process }) => process)).toContain(started.process);
    expect(await started.wait()).toMatchObject({ state: "ended", exit: { exitCode: 3 } });
    expect((await sandbox.processes.get(started.process)).info).toMatchObject({
      state: "ended",
      exit: { exitCode: 3 },
      endedAt: expect.any(String),
    });
    expect(await take(started.attach())).toEqual({ stdout: "out\n", stderr: "", lost: 0, exit: 3 });
    await expect(started.signal("TERM")).rejects.toMatchObject({ code: "invalid_state" });
    await expect(sandbox.processes.get(999_999)).rejects.toMatchObject({ code: "not_found" });
  });

  test("that cannot be started is not there", async () => {
    const before = (await sandbox.processes.list()).length;
    await expect(sandbox.processes.start("no-such-command")).rejects.toMatchObject({
      code: "not_found",
      details: { exitCode: 127 },
    });
    expect(await sandbox.processes.list()).toHaveLength(before);
  });

  test("gives several clients the same, whenever they come, and from where they ask", async () => {
    const process = await sh(
      "i=0; while [ $i -lt 80 ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo e >&2",
    );
    const early = take(process.attach());
    await take(process.attach(), ({ stdout }) => stdout.includes("\n20\n"));
    const late = take(process.attach());
    const from = take(process.attach({ from: { stdout: 4, stderr: 0 } }));
    const now = take(process.attach({ from: "now" }));
    const all = { stdout: counted(1, 80), stderr: "e\n", lost: 0, exit: 0 };
    expect(await early).toEqual(all);
    expect(await late).toEqual(all);
    expect((await from).stdout).toBe(counted(3, 80));
    const rest = (await now).stdout;
    expect(rest.length).toBeLessThan(all.stdout.length);
    expect(all.stdout.endsWith(rest)).toBe(true);
  });

  test("goes on from the offsets where a client left", async () => {
    const process = await sh("i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.01; done");
    const first = process.attach();
    const before = await take(first, ({ stdout }) => stdout.includes("\n20\n"));
    const after = await take(process.attach({ from: { ...first.offsets } }));
    expect(before.stdout + after.stdout).toBe(counted(1, 60));
  });

  test("takes stdin from who attaches, and nothing when it was started without", async () => {
    const process = await sandbox.processes.start(
      "sh",
      ["-c", "while read l; do echo got $l; done; echo over"],
      {
        stdin: true,
      },
    );
    const one = process.attach();
    await one.stdin.write("one\n");
    await take(one, ({ stdout }) => stdout.includes("got one"));
    const two = process.attach();
    await two.stdin.write("two\n");
    await two.stdin.end();
    expect((await take(two)).stdout).toBe("got one\ngot two\nover\n");
    const without = await sh("cat; echo over");
    expect((await take(without.attach())).stdout).toBe("over\n");
  });

  test("is signalled alone, with its group, or with all that descends from it", async () => {
    const script =
      "trap 'echo outer' USR1; sh -c \"trap 'echo inner' USR1; echo ready; while :; do sleep 0.05; done\" & while :; do wait; done";
    const process = await sh(script);
    await take(process.attach(), ({ stdout }) => stdout.includes("ready"));
    await process.signal("USR1", { scope: "process" });
    await take(process.attach(), ({ stdout }) => stdout.includes("outer"));
    await process.signal("SIGUSR1");
    const { stdout } = await take(
      process.attach(),
      (t) => t.stdout.includes("inner") && t.stdout.split("outer").length === 3,
    );
    expect(stdout.split("inner")).toHaveLength(2);
    await process.signal("KILL", { scope: "tree" });
    expect(await process.wait()).toMatchObject({ exit: { signal: "SIGKILL" } });
    await expect(process.signal("nonsense")).rejects.toMatchObject({ code: "invalid_state" });
  });

  test("may have a terminal that comes and goes with its clients", async () => {
    const process = await sandbox.processes.start("sh", ["-c", "echo ready; read a; stty size; cat"], {
      stdin: true,
      tty: { rows: 10, cols: 20 },
    });
    const one = new Screen(process.attach());
    await one.wrote("ready");
    one.process.close();
    const two = new Screen(process.attach());
    await two.wrote("ready");
    two.process.resize(30, 40);
    await two.typed("\r");
    await two.wrote("30 40");
    await two.typed("\x04");
    expect(await two.ended).toMatchObject({ exitCode: 0 });
  });

  test("is ended when its time is up", async () => {
    const gentle = await sh("sleep 1000", { timeoutMs: 100 });
    expect(await gentle.wait()).toMatchObject({ exit: { signal: "SIGTERM", timedOut: true } });
    const stubborn = await sh("trap '' TERM; while :; do sleep 0.05; done", {
      timeoutMs: 100,
      killAfterMs: 50,
    });
    expect(await stubborn.wait()).toMatchObject({ exit: { signal: "SIGKILL", timedOut: true } });
  });

  test("that prints without end holds nobody, and says what is gone", async () => {
    const megabytes = 60;
    const process = await sh(
      `i=0; while [ $i -lt ${megabytes} ]; do i=$((i+1)); dd if=/dev/zero bs=65536 count=16 2>/dev/null | tr '\\000' x; done`,
    );
    // This client reads one piece and then nothing more until the process has ended: its place in the log is dropped meanwhile.
    const slow = process.attach();
    const events = slow[Symbol.asyncIterator]();
    const first = await events.next();
    expect(first.value).toMatchObject({ type: "output", stream: "stdout" });
    expect(await process.wait()).toMatchObject({ exit: { exitCode: 0 } });
    const late = await take(process.attach());
    expect(late.lost).toBeGreaterThan(0);
    expect(late.lost + late.stdout.length).toBe(megabytes * 1024 * 1024);
    expect(late.stdout.length).toBeLessThan(34 * 1024 * 1024);
    let seen = 0;
    let lost = 0;
    for (let event = first; !event.done; event = await events.next()) {
      if (event.value.type === "output") seen += event.value.data.length;
      if (event.value.type === "lost") lost += event.value.bytes;
    }
    expect(seen + lost).toBe(megabytes * 1024 * 1024);
  });

  test("survives the daemon, and so does the exit code of one that ends meanwhile", async () => {
    const counter = await sh("i=0; while [ $i -lt 150 ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 7");
    const typist = await sandbox.processes.start("sh", ["-c", "read a; echo got $a"], {
      stdin: true,
      tty: { rows: 5, cols: 50 },
    });
    const brief = await sh("sleep 0.5; echo brief; exit 9");
    const ended = await sh("exit 4");
    expect(await ended.wait()).toMatchObject({ exit: { exitCode: 4 } });
    const attached = counter.attach();
    const before = await take(attached, ({ stdout }) => stdout.includes("\n20\n"));
    await driver.killDaemon();
    await until(async () => (await driver.vmPids()).length === 1, "the VM runs on");
    // The one that counts keeps the VM busy: when that has used a second more of CPU, the brief one's half second is over.
    const [vm] = await driver.vmPids();
    const begun = await cpuTicks(vm!);
    await until(async () => (await cpuTicks(vm!)) > begun + 100, "the VM has worked for a second");

    const again = await Sandbox.get("box", { connection: driver.connection });
    const list = await again.processes.list();
    const infoOf = ({ process }: SandboxProcess) => list.find((p) => p.process === process)?.info;
    expect(infoOf(counter)).toMatchObject({
      argv: counter.info.argv,
      startedAt: counter.info.startedAt,
      tty: false,
    });
    expect(infoOf(typist)).toMatchObject({ state: "running", tty: true, argv: typist.info.argv });
    expect(infoOf(ended)).toMatchObject({ state: "ended", exit: { exitCode: 4 } });
    expect(await brief.wait()).toMatchObject({ state: "ended", exit: { exitCode: 9 } });
    expect((await take(brief.attach())).stdout).toBe("brief\n");

    const rest = await take(counter.attach({ from: { ...attached.offsets } }));
    expect(before.stdout + rest.stdout).toBe(counted(1, 150));
    expect(rest).toMatchObject({ exit: 7, lost: 0 });
    expect((await take(counter.attach())).stdout).toBe(counted(1, 150));
    const screen = new Screen(typist.attach());
    await screen.typed("hello\r");
    await screen.wrote("got hello");
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
  });

  test("is lost with its VM, and told so", async () => {
    const other = await driver.create({ name: "other" });
    const process = await other.processes.start("sh", ["-c", "echo before; sleep 1000"]);
    const attached = process.attach();
    const taken = take(attached);
    taken.catch(() => {});
    const waiting = process.wait();
    await other.kill();
    expect(await waiting).toMatchObject({ state: "lost" });
    await expect(taken).rejects.toMatchObject({ code: "unavailable" });
    expect((await other.processes.list()).map(({ info }) => info.state)).toEqual(["lost"]);
    await other.start();
    await expect(process.signal("TERM")).rejects.toMatchObject({ code: "invalid_state" });
    await other.remove({ force: true });
  });

  test("is started, shown, attached to, signalled and waited for by msb", async () => {
    const started = await driver.msb([
      "exec",
      "-d",
      "-i",
      "box",
      "--",
      "sh",
      "-c",
      "read a; echo got $a; sleep 1000",
    ]);
    expect(started).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\n$/) });
    const number = started.stdout.trim();
    const listed = await driver.msb(["ps", "box"]);
    expect(listed.stdout).toMatch(new RegExp(`^${number} +\\d+ +running +\\d+ s +sh -c read a`, "m"));
    const attached = driver.msb(["attach", "-i", "box", number], { stdin: "it\n" });
    const waited = driver.msb(["wait", "box", number]);
    await take((await sandbox.processes.get(Number(number))).attach(), ({ stdout }) =>
      stdout.includes("got it"),
    );
    expect((await driver.msb(["signal", "box", number, "TERM"])).code).toBe(0);
    expect((await waited).code).toBe(143);
    expect(await attached).toMatchObject({ code: 143, stdout: "got it\n" });
    expect((await driver.msb(["ps", "box"])).stdout).toMatch(
      new RegExp(`^${number} +\\d+ +ended \\(SIGTERM\\)`, "m"),
    );
    expect((await driver.msb(["signal", "box", number, "TERM"])).code).toBe(1);
  });
});

/** CPU time that a process has used, in hundredths of a second. */
async function cpuTicks(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
