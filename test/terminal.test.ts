import { createReadStream, existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Image, type Sandbox, type TerminalInput } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";
import { Screen } from "./screen.ts";

const PYTHON = fileURLToPath(new URL("../build/images/msb-python", import.meta.url));
const CTRL_C = "\x03";
const CTRL_D = "\x04";
const CTRL_Z = "\x1a";
const ESCAPE = "\x1b";

/** Terminals of processes in a sandbox, with programs that need one. */
describe("a process with a terminal", () => {
  let driver: SandboxDriver;
  let sandbox: Sandbox;

  beforeAll(async () => {
    driver = await SandboxDriver.open("terminal");
    sandbox = await driver.create();
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const open = (argv: string[], tty: TerminalInput = {}, more: object = {}): Screen => {
    const [file = "", ...args] = argv;
    return new Screen(sandbox.execStream(file, args, { tty: { rows: 30, cols: 90, ...tty }, ...more }));
  };

  test("has its size and its name from the first instruction on, one stream, and /dev/tty", async () => {
    const script =
      "stty size; tty; echo $TERM; echo err >&2; echo direct > /dev/tty; [ -t 0 -a -t 1 -a -t 2 ]; exit 5";
    const screen = open(["sh", "-c", script], { rows: 41, cols: 132, term: "xterm-256color" });
    expect(await screen.ended).toMatchObject({ exitCode: 5 });
    expect(screen.shown).toMatch(/^41 132\r\n\/dev\/pts\/\d+\r\nxterm-256color\r\nerr\r\ndirect\r\n$/);
  });

  test("has a terminal that belongs to its user, and limits too", async () => {
    const more = { user: "user", rlimits: { nofile: { soft: 100, hard: 100 } } };
    const screen = open(["sh", "-c", "stat -c %U $(tty); ulimit -n; echo ok > /dev/tty"], {}, more);
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
    expect(screen.shown).toBe("user\r\n100\r\nok\r\n");
  });

  test("is told of a new size", async () => {
    const screen = open([
      "sh",
      "-c",
      "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done",
    ]);
    await screen.wrote("ready");
    screen.process.resize(11, 22);
    await screen.wrote("11 22");
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
  });

  test("is controlled by its keys: job control, interrupt, end of file", async () => {
    const screen = open(["sh"]);
    await screen.wrote("# ");
    await screen.typed("sh -c 'while sleep 0.1; do echo ti''ck; done'\r");
    await screen.wrote("tick\r\n");
    await screen.typed(CTRL_Z);
    await screen.wrote("Stopped");
    await screen.typed("jobs\r");
    await screen.wrote(/\[1\].*Stopped/);
    await screen.typed("fg\r");
    await screen.wrote("tick\r\n");
    await screen.typed(CTRL_C);
    await screen.wrote("# ");
    await screen.typed("echo status $?\r");
    await screen.wrote("status 130");
    await screen.wrote("# ");
    await screen.typed("echo re''ady; cat; echo o''ver\r");
    await screen.wrote("ready");
    await screen.typed("line\r");
    await screen.wrote("line\r\nline\r\n");
    await screen.typed(CTRL_D);
    await screen.wrote("over");
    await screen.wrote("# ");
    await screen.typed(CTRL_D);
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
  });

  test("may be an editor", async () => {
    await sandbox.shell("printf 'one\\ntwo\\n' > /root/text");
    const screen = open(["vi", "/root/text"]);
    await screen.wrote("two");
    await screen.typed(`Gothree${ESCAPE}`);
    await screen.wrote("three");
    await screen.typed(":1s/one/first/\r");
    await screen.wrote("first");
    await screen.typed(":wq\r");
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
    expect((await sandbox.shell("cat /root/text")).stdout).toBe("first\ntwo\nthree\n");
  });

  test("may be a view of the whole screen that is redrawn", async () => {
    const screen = open(["top", "-d", "1"], { rows: 20, cols: 80 });
    await screen.wrote(/Mem:[\s\S]*?COMMAND/);
    await screen.wrote(/Mem:[\s\S]*?COMMAND/);
    await screen.typed("q");
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
  });

  test("goes on when nothing more is typed: the end of stdin is no key", async () => {
    const screen = open(["sh", "-c", "read line; echo got $line; sleep 0.3; echo still here"]);
    await screen.typed("something\r");
    await screen.process.stdin.end();
    await screen.wrote("still here");
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
  });

  test("takes more than its buffers hold", async () => {
    const screen = open(["sh", "-c", "stty raw -echo; echo ready; sleep 0.2; head -c 500000 | md5sum"]);
    await screen.wrote("ready");
    await screen.typed("0123456789".repeat(50_000));
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
    const { stdout } = await sandbox.shell(
      "i=0; while [ $i -lt 50000 ]; do printf 0123456789; i=$((i+1)); done | md5sum",
    );
    expect(screen.shown).toContain(stdout.slice(0, 32));
  });

  test("gives an exit that what it leaves in the background does not hold up", async () => {
    const screen = open(["sh", "-c", "set -m; sleep 1000 & exit 4"]);
    expect(await screen.ended).toMatchObject({ exitCode: 4 });
    await sandbox.shell("killall sleep");
  });

  test("collected by exec gives what it shows as stdout", async () => {
    const result = await sandbox.exec("sh", ["-c", "tty > /dev/null && stty size"], { tty: {} });
    expect(result).toMatchObject({ exitCode: 0, stdout: "24 80\r\n", stderr: "" });
  });

  test("is hung up when its client goes, and runs on when it is left", async () => {
    const script = "trap 'echo hup > /root/hup; exit' HUP; echo ready; while :; do sleep 0.05; done";
    const abandoned = open(["sh", "-c", script]);
    await abandoned.wrote("ready");
    abandoned.process.close();
    expect((await sandbox.shell("until [ -e /root/hup ]; do sleep 0.05; done; rm /root/hup")).exitCode).toBe(
      0,
    );
    const left = open(["sh", "-c", script]);
    await left.wrote("ready");
    const { pid } = await left.process.started;
    await left.process.detach();
    await expect(left.process.exit).rejects.toMatchObject({ code: "cancelled" });
    expect((await sandbox.shell(`sleep 2.5; kill -0 ${pid} && kill -9 ${pid}; ls /root/hup`)).stdout).toBe(
      "",
    );
  });

  test.skipIf(!existsSync(`${PYTHON}.tar`))("may be Python's prompt", async () => {
    const config = JSON.parse(await readFile(`${PYTHON}.config.json`, "utf8"));
    await Image.import("msb/python", createReadStream(`${PYTHON}.tar`), {
      connection: driver.connection,
      config,
    });
    await using python = await driver.create({ image: "msb/python" });
    const screen = new Screen(python.execStream("python3", ["-q"], { tty: { rows: 30, cols: 90 } }));
    await screen.wrote(">>> ");
    await screen.typed("import os; os.get_terminal_size()\r");
    await screen.wrote("columns=90, lines=30");
    await screen.wrote(">>> ");
    await screen.typed("while True: pass\r\r");
    await screen.wrote("pass");
    await screen.typed(CTRL_C);
    await screen.wrote("KeyboardInterrupt");
    await screen.wrote(">>> ");
    await screen.typed(CTRL_D);
    expect(await screen.ended).toMatchObject({ exitCode: 0 });
  });
});
