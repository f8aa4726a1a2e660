import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { LocalTerminal } from "./local-terminal.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

const MAIN = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const MSB = `'${process.execPath}' --disable-warning=ExperimentalWarning '${MAIN}'`;

/** `msb` in a terminal of this machine, which it lends to a process of a sandbox. */
describe("msb in a terminal", () => {
  let driver: SandboxDriver;
  let sandbox: Sandbox;
  beforeAll(async () => {
    driver = await SandboxDriver.open("terminal-cli");
    sandbox = await driver.create({ name: "box" });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const open = (script: string, size: { rows?: number; cols?: number } = {}) =>
    LocalTerminal.open(script.replaceAll("msb ", `${MSB} `), {
      env: { ...driver.env, TERM: "vt220" },
      ...size,
    });

  test("lends it: size, name and keys; and has it back as it was", async () => {
    await using terminal = await open(`msb exec -it box -- sh; echo "ended with $?"; read wait`, {
      rows: 31,
      cols: 97,
    });
    const before = terminal.modes;
    await terminal.wrote("# ");
    expect(terminal.modes).not.toBe(before);
    terminal.typed("stty size; echo $TERM; cat\r");
    await terminal.wrote("31 97");
    await terminal.wrote("vt220");
    // What comes back twice was read by cat: a key before that would be the shell's, which is about to start it.
    terminal.typed("there\r");
    await terminal.wrote("there\r\nthere");
    terminal.typed("\x03");
    await terminal.wrote("# ");
    terminal.resize(12, 34);
    terminal.typed("until [ \"$(stty size)\" = '12 34' ]; do sleep 0.05; done; echo re''sized\r");
    await terminal.wrote("resized");
    terminal.typed("exit 9\r");
    await terminal.wrote("ended with 9");
    expect(terminal.modes).toBe(before);
    terminal.typed("\r");
    expect(await terminal.closed).toBe(0);
  });

  test("gives it back when a signal ends it, and when the sandbox goes", async () => {
    const other = await driver.create({ name: "other" });
    await using terminal = await open(
      `msb exec -t box -- sh -c 'echo in; exec cat'; echo "ended with $?"; read wait; ` +
        `msb exec -t other -- sh -c 'echo in again; exec cat'; echo "then with $?"; read wait`,
    );
    const before = terminal.modes;
    await terminal.wrote("in\r\n");
    const raw = terminal.modes;
    expect(raw).not.toBe(before);
    const pids = await driver.clientPids("in; exec cat");
    expect(pids).toHaveLength(1);
    process.kill(pids[0]!, "SIGTERM");
    await terminal.wrote("ended with 143");
    expect(terminal.modes).toBe(before);
    terminal.typed("\r");
    await terminal.wrote("in again");
    expect(terminal.modes).toBe(raw);
    await other.remove({ force: true });
    await terminal.wrote(/then with 125/);
    expect(terminal.modes).toBe(before);
  });

  test("is left by its keys, and the process runs on", async () => {
    const script = "echo $$ > /root/pid; trap '' HUP; echo ready; cat";
    await using terminal = await open(
      `msb exec -t --detach-keys ctrl-a,d box -- sh -c "${script.replaceAll("$", "\\$")}"; echo "left with $?"`,
    );
    await terminal.wrote("ready");
    terminal.typed("\x10\x11\x01x\x01d");
    await terminal.wrote("left with 0");
    expect((await sandbox.shell("kill -0 $(cat /root/pid) && kill -9 $(cat /root/pid)")).exitCode).toBe(0);
  });

  test("opens a shell: the sandbox's, or one that its image has", async () => {
    await driver.create({ name: "strange", shell: "/no/such/shell" });
    for (const name of ["box", "strange"]) {
      await using terminal = await open(`msb shell ${name}; echo "ended with $?"`);
      await terminal.wrote("# ");
      terminal.typed("echo at $((6*7)); exit 3\r");
      await terminal.wrote("at 42");
      await terminal.wrote("ended with 3");
    }
    expect(await driver.msb(["shell", "box"], { stdin: "echo piped; tty\nexit 2\n" })).toMatchObject({
      code: 2,
      stdout: "piped\nnot a tty\n",
    });
  });

  test("runs a command of its own sandbox", async () => {
    await using terminal = await open(
      `msb run -it msb/base -- sh -c 'stty size; tty'; echo "ended with $?"`,
      { rows: 20, cols: 70 },
    );
    await terminal.wrote("20 70");
    await terminal.wrote("/dev/pts/0");
    await terminal.wrote("ended with 0");
  });

  test("without one says so", async () => {
    expect(await driver.msb(["exec", "-t", "box", "--", "true"])).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("-t needs a terminal, and stdin is none"),
    });
  });
});
