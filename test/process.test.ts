import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Processes in a sandbox, seen from the SDK. */
describe("a process in a sandbox", () => {
  let driver: SandboxDriver;
  let sandbox: Sandbox;

  beforeAll(async () => {
    driver = await SandboxDriver.open("process");
    sandbox = await driver.create({ env: { FROM_SPEC: "spec" } });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  test("gives its output, kept apart, and its exit code", async () => {
    const result = await sandbox.shell("echo out; echo err >&2; exit 7");
    expect(result).toMatchObject({ stdout: "out\n", stderr: "err\n", exitCode: 7 });
  });

  test("gives bytes as they are", async () => {
    const { stdoutBytes } = await sandbox.shell("printf '\\000\\377\\376\\n\\200'");
    expect([...stdoutBytes]).toEqual([0, 255, 254, 10, 128]);
  });

  test("reads all of its stdin and then its end", async () => {
    const stdin = Buffer.alloc(3_000_000, "0123456789abcdef");
    const { stdout, exitCode } = await sandbox.exec("wc", ["-c"], { stdin });
    expect(exitCode).toBe(0);
    expect(Number(stdout)).toBe(3_000_000);
  });

  test("has the environment of the image, the spec and the call, in this order", async () => {
    const { stdout } = await sandbox.exec("env", [], { env: { FROM_CALL: "call", TERM: "dumb" } });
    expect(stdout).toContain("FROM_SPEC=spec\n");
    expect(stdout).toContain("FROM_CALL=call\n");
    expect(stdout).toMatch(/^PATH=.*\/bin/m);
    expect(stdout).toContain("HOME=/root\n");
  });

  test("runs as the user and in the folder that was asked for", async () => {
    const { stdout } = await sandbox.shell("id -u; id -g; pwd; echo $HOME", {
      user: "user",
      workdir: "/tmp",
    });
    expect(stdout).toBe("1000\n1000\n/tmp\n/home/user\n");
    const numeric = await sandbox.shell("id -u; id -g", { user: "4242:4343" });
    expect(numeric.stdout).toBe("4242\n4343\n");
  });

  test("is held to its rlimits from its first instruction", async () => {
    const { stdout } = await sandbox.shell("ulimit -n; ulimit -Hn", {
      rlimits: { nofile: { soft: 100, hard: 200 } },
    });
    expect(stdout).toBe("100\n200\n");
  });

  test("that is not there fails with not_found and 127", async () => {
    await expect(sandbox.exec("no-such-command")).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("no-such-command"),
      details: { exitCode: 127 },
    });
  });

  test("that cannot be executed fails with permission_denied and 126", async () => {
    await expect(sandbox.exec("/etc/passwd")).rejects.toMatchObject({
      code: "permission_denied",
      message: expect.stringContaining("/etc/passwd"),
      details: { exitCode: 126 },
    });
  });

  test("with an unknown user or folder fails with invalid_argument", async () => {
    await expect(sandbox.exec("true", [], { user: "nobody-here" })).rejects.toMatchObject({
      code: "invalid_argument",
    });
    await expect(sandbox.exec("true", [], { workdir: "/no/such/folder" })).rejects.toMatchObject({
      code: "invalid_argument",
    });
  });

  test("that a signal ended says which", async () => {
    expect(await sandbox.shell("kill -SEGV $$")).toMatchObject({ signal: "SIGSEGV", exitCode: 139 });
  });

  test("that takes too long is ended", async () => {
    const result = await sandbox.exec("sleep", ["1000"], { timeoutMs: 100 });
    expect(result).toMatchObject({ signal: "SIGTERM", timedOut: true });
  });

  test("that ignores TERM is killed when its time is up", async () => {
    const result = await sandbox.shell("trap '' TERM; while :; do sleep 0.1; done", { timeoutMs: 100 });
    expect(result).toMatchObject({ signal: "SIGKILL", timedOut: true });
  });

  test("streams what it writes while it runs, and takes input and signals", async () => {
    const process = sandbox.execStream("sh", [
      "-c",
      "trap 'echo trapped; exit 5' USR1; echo ready; while read line; do echo got $line; done; sleep 1000 & wait",
    ]);
    let seen = "";
    let asked = false;
    let signalled = false;
    for await (const event of process) {
      if (!("data" in event)) continue;
      seen += event.data.toString();
      if (seen.includes("ready") && !asked) {
        asked = true;
        await process.stdin.write("one\n");
      }
      if (seen.includes("got one") && !signalled) {
        signalled = true;
        await process.stdin.end();
        process.kill("USR1");
      }
    }
    expect(seen).toBe("ready\ngot one\ntrapped\n");
    expect(await process.exit).toMatchObject({ exitCode: 5 });
  });

  test("that prints more than a client takes is held back, and nothing is lost", async () => {
    const process = sandbox.execStream("sh", ["-c", "dd if=/dev/zero bs=65536 count=320 2>/dev/null"]);
    let bytes = 0;
    for await (const event of process) {
      if ("data" in event) bytes += event.data.length;
      if (bytes < 500_000) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(bytes).toBe(320 * 65_536);
  });

  test("that never reads holds its client back, and its end lets it go", async () => {
    const process = sandbox.execStream("sh", [
      "-c",
      "echo ready; while [ ! -e /tmp/enough ]; do sleep 0.05; done",
    ]);
    const piece = Buffer.alloc(64 * 1024);
    let written = 0;
    let ended = false;
    const writing = (async () => {
      while (!ended) {
        await process.stdin.write(piece);
        if (!ended) written += piece.length;
      }
    })();
    // What the pipe, the agent and the stream hold between them, and not a byte more.
    let before = -1;
    await until(async () => {
      const still = written === before && written > 0;
      before = written;
      await sandbox.exec("true");
      return still;
    }, "nothing more is taken");
    expect(written).toBeLessThan(4 * 1024 * 1024);
    await sandbox.exec("touch", ["/tmp/enough"]);
    expect(await process.exit).toMatchObject({ exitCode: 0 });
    ended = true;
    await writing;
  });

  test("runs beside others without mixing", async () => {
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        sandbox.shell(`i=0; while [ $i -lt 50 ]; do echo ${i}; i=$((i+1)); done; exit ${i}`),
      ),
    );
    for (const [i, result] of results.entries()) {
      expect(result.exitCode).toBe(i);
      expect(result.stdout).toBe(`${i}\n`.repeat(50));
    }
  });

  test("whose child holds its output does not hold the answer", async () => {
    const result = await sandbox.shell("sleep 1000 & echo done");
    expect(result).toMatchObject({ stdout: "done\n", exitCode: 0 });
    await sandbox.shell("killall sleep || true");
  });

  test("cannot reach a network that its sandbox has not: there is none but loopback", async () => {
    await using lone = await driver.create({ network: { scope: "none" } });
    const { stdout } = await lone.shell("ls /sys/class/net; cat /proc/net/route");
    expect(stdout.trim().split("\n")[0]).toBe("lo");
    expect(stdout).not.toContain("eth");
  });
});
