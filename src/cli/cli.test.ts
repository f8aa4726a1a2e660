import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestHome } from "../sdk/testing/test-home.ts";
import { COMMANDS } from "./commands.ts";
import { type Finished, Msb } from "./testing/msb.ts";

let home: TestHome;

const start = (...args: string[]) => new Msb(home.env, args);
const msb = (...args: string[]): Promise<Finished> => {
  const { child, finished } = start(...args);
  child.stdin.end();
  return finished;
};

beforeAll(async () => {
  home = new TestHome();
  expect(await msb("create", "--name", "box", "msb/base")).toMatchObject({ code: 0, stdout: "box\n" });
});
afterAll(() => home[Symbol.asyncDispose]());

test("run passes output, errors and the exit code through", async () => {
  const { code, stdout, stderr } = await msb(
    "run",
    "msb/base",
    "--",
    "sh",
    "-c",
    "echo out; echo err >&2; exit 7",
  );
  expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: "out\n", stderr: "err\n" });
});

test("options after the image belong to the command", async () => {
  expect((await msb("run", "msb/base", "echo", "--name", "-e", "--", "x")).stdout).toBe("--name -e -- x\n");
});

test.each([
  ["command not found", ["run", "msb/base", "no-such-command"], 127],
  ["not executable", ["run", "msb/base", "/etc/passwd"], 126],
  ["a signal", ["run", "msb/base", "sh", "-c", "kill -9 $$"], 137],
  ["time is up", ["run", "--timeout", "50ms", "msb/base", "sleep", "1000"], 124],
  ["unknown image", ["run", "no/such", "true"], 125],
  ["bad usage", ["run", "--memory", "512", "msb/base"], 125],
  ["an option behind the image", ["run", "msb/base", "--memory", "512M", "true"], 125],
  ["unknown sandbox", ["exec", "nobody", "true"], 125],
  ["exec's own", ["exec", "box", "sh", "-c", "exit 42"], 42],
  ["another command's failure", ["inspect", "nobody"], 1],
  ["another command's usage", ["ls", "--bogus"], 2],
])("exit code of %s", async (_what, args, expected) => {
  expect((await msb(...args)).code).toBe(expected);
});

test("stdin goes through a pipe, with its end", async () => {
  const { child, finished } = start("run", "msb/base", "tr", "a-z", "A-Z");
  child.stdin.end("hello\n");
  expect(await finished).toMatchObject({ code: 0, stdout: "HELLO\n" });
});

test("bytes that are no text come through as they are", async () => {
  const bytes = Buffer.from(Array.from({ length: 1 << 18 }, (_, index) => (index * 31) & 0xff));
  const { child, finished } = start("exec", "box", "cat");
  child.stdin.end(bytes);
  expect((await finished).stdoutBytes.equals(bytes)).toBe(true);
});

test("nothing is lost at the end of a long output", async () => {
  const { stdoutBytes } = await msb("exec", "box", "head", "-c", "20000000", "/dev/zero");
  expect(stdoutBytes.length).toBe(20_000_000);
});

test("a reader that has had enough ends it without a word", async () => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const script = `"$0" "${main}" run msb/base yes | head -1; echo "\${PIPESTATUS[0]}"`;
  const shell = spawn("bash", ["-c", script, process.execPath], { env: home.env, stdio: "pipe" });
  shell.stdin.end();
  let output = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  await once(shell, "close");
  expect(output).toBe("y\n141\n");
});

test.each(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const)(
  "%s reaches the command",
  async (signal) => {
    const name = signal.slice(3);
    const run = start(
      "exec",
      "box",
      "sh",
      "-c",
      `trap 'echo got ${name}; exit 9' ${name}; echo ready; while :; do sleep 0.01; done`,
    );
    await run.wrote("ready");
    run.child.kill(signal);
    expect(await run.finished).toMatchObject({ code: 9, stdout: `ready\ngot ${name}\n` });
  },
);

test("a command that a forwarded signal ends gives 128 + n", async () => {
  const run = start("run", "msb/base", "sh", "-c", "echo ready; exec sleep 1000");
  await run.wrote("ready");
  run.child.kill("SIGTERM");
  expect((await run.finished).code).toBe(143);
});

test("a third Ctrl-C ends msb although the command ignores them, and the sandbox is gone", async () => {
  const run = start(
    "run",
    "--label",
    "stubborn=yes",
    "msb/base",
    "sh",
    "-c",
    "trap 'echo no' INT; echo ready; while :; do sleep 0.01; done",
  );
  await run.wrote("ready");
  for (let count = 1; count <= 2; count++) {
    run.child.kill("SIGINT");
    await run.wrote("no\n".repeat(count));
  }
  expect(run.stderr).toContain("Ctrl-C again forces it");
  run.child.kill("SIGINT");
  expect((await run.finished).code).toBe(130);
  await until(async () => (await msb("ls", "-q", "--label", "stubborn=yes")).stdout === "");
});

test("Ctrl-C while the sandbox is being created cancels it", async () => {
  const run = start("run", "test/slow", "true");
  await run.wrote("building the template");
  run.child.kill("SIGINT");
  expect(await run.finished).toMatchObject({ code: 130, stdout: "" });
});

test("progress is plain lines where there is no terminal, and only for what takes long", async () => {
  expect((await msb("run", "test/slow", "echo", "done")).stderr).toBe("msb: building the template …\n");
  expect((await msb("run", "msb/base", "true")).stderr).toBe("");
});

test("--timings prints the steps on stderr", async () => {
  const { stdout, stderr } = await msb("run", "--timings", "msb/base", "echo", "x");
  expect(stdout).toBe("x\n");
  expect(stderr).toMatch(/STEP +FROM ms +TOOK ms\nimage +0\.0 +1\.3\nload/);
});

test("run keeps a named sandbox and removes it with --rm", async () => {
  await msb("run", "--name", "named", "msb/base", "true");
  expect((await msb("ls", "--quiet")).stdout).toContain("named\n");
  expect((await msb("run", "--name", "named", "msb/base", "true")).stderr).toContain("named already");
  expect(await msb("rm", "--force", "named")).toMatchObject({ code: 0, stdout: "named\n" });
  await msb("run", "--name", "named", "--rm", "msb/base", "true");
  await until(async () => !(await msb("ls", "-q")).stdout.includes("named"));
});

test("run --detach prints the name and returns", async () => {
  const { code, stdout } = await msb("run", "--detach", "--name", "behind", "msb/base", "sleep", "1000");
  expect({ code, stdout }).toEqual({ code: 0, stdout: "behind\n" });
  const { spec } = JSON.parse((await msb("inspect", "behind")).stdout);
  expect(spec).toMatchObject({ command: ["sleep", "1000"], autoRemove: false });
  await msb("rm", "-f", "behind");
});

test("environment: given, from here, and from a file", async () => {
  const file = join(home.path, "env");
  writeFileSync(file, "# comment\nC=from file\n\nA=overridden\n");
  const { child, finished } = new Msb({ ...home.env, B: "here" }, [
    ...["run", "-e", "A=given=x", "-e", "B", "-e", "UNSET_HERE", "--env-file", file],
    ...["msb/base", "sh", "-c", 'echo "$A|$B|$C|$UNSET_HERE"; env | grep -c UNSET_HERE'],
  ]);
  child.stdin.end();
  expect((await finished).stdout).toBe("given=x|here|from file|\n0\n");
});

test("errors are a sentence and a hint; with --json they are JSON", async () => {
  expect((await msb("exec", "nobody", "true")).stderr).toBe(
    "msb: there is no sandbox nobody\nhint: msb ls shows all\n",
  );
  const { stderr } = await msb("ls", "--json", "--state", "asleep");
  expect(JSON.parse(stderr).error).toMatchObject({ code: "invalid_argument" });
});

test("a bad value is told in words of the flag that set it", async () => {
  const { stderr } = await msb("run", "--memory", "64M", "--cpus", "0", "msb/base", "true");
  expect(stderr).toBe("msb: --cpus: must be at least 1\nmsb: --memory (in MiB): must be at least 128\n");
});

test("a mistyped command is met with a suggestion", async () => {
  const { code, stderr } = await msb("imagse");
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: "msb: unknown command 'imagse' (Did you mean images?)\n",
  });
});

test("a terminal that there is not is refused in so many words; -i is taken as said", async () => {
  expect((await msb("run", "-it", "msb/base", "sh")).stderr).toContain("-t needs a terminal");
  expect((await msb("run", "-i", "msb/base", "true")).code).toBe(0);
});

test("ls is a table, names or JSON", async () => {
  expect((await msb("ls")).stdout).toMatch(
    /^NAME +IMAGE +STATE +CPUS +MEMORY +AGE\nbox +msb\/base +running +1 +256 MiB +\d/,
  );
  expect((await msb("ps", "-q", "--state", "running")).stdout).toBe("box\n");
  expect(JSON.parse((await msb("ls", "--json")).stdout)).toMatchObject([{ name: "box" }]);
});

test("several sandboxes at once: one failure does not stop the others", async () => {
  await msb("create", "--name", "one", "msb/base");
  const { code, stdout, stderr } = await msb("stop", "one", "nobody");
  expect({ code, stdout, stderr }).toEqual({
    code: 1,
    stdout: "one\n",
    stderr: "msb: there is no sandbox nobody\nhint: msb ls shows all\n",
  });
  expect((await msb("start", "one")).stdout).toBe("one\n");
  expect((await msb("kill", "one")).stdout).toBe("one\n");
  expect((await msb("rm", "--all")).stdout).toBe("one\n");
  expect((await msb("rm")).stderr).toContain("give the sandboxes to remove, or --all");
});

test("logs keep stdout and stderr apart", async () => {
  await msb("create", "--name", "talk", "msb/base");
  await msb("exec", "talk", "sh", "-c", "echo out; echo err >&2");
  expect(await msb("logs", "talk")).toMatchObject({ stdout: "out\n", stderr: "err\n" });
  expect((await msb("logs", "--json", "--tail", "1", "talk")).stdout).toContain('"process":1');
  expect((await msb("logs", "--console", "talk")).stdout).toBe("console of talk\n");
  await msb("rm", "-f", "talk");
});

test("import takes a file or stdin, and a config", async () => {
  const tar = join(home.path, "root.tar");
  const config = join(home.path, "config.json");
  writeFileSync(tar, Buffer.alloc(10_240));
  writeFileSync(config, '{"config":{"User":"1000"}}');
  expect((await msb("import", tar, "my/image", "--config", config)).stdout).toBe("my/image\n");
  const { child, finished } = start("import", "-", "my/piped", "--json");
  child.stdin.end(Buffer.alloc(2048));
  expect(JSON.parse((await finished).stdout)).toMatchObject({ name: "my/piped", sizeBytes: 2048 });
  expect((await msb("images")).stdout).toMatch(/my\/image +[0-9a-f]{12} /);
  expect((await msb("images", "rm", "my/image", "my/piped")).stdout).toBe("my/image\nmy/piped\n");
  expect((await msb("images", "ls", "--json")).stdout).not.toContain("my/");
  expect((await msb("import", "/no/such.tar", "x")).stderr).toBe("msb: there is no file /no/such.tar\n");
  writeFileSync(config, "{");
  expect((await msb("import", tar, "x", "--config", config)).stderr).toContain("is not JSON");
});

test("templates: build, ls, rm", async () => {
  expect((await msb("template", "build", "--cpus", "2", "--memory", "512M")).stdout).toBe("t2x512\n");
  expect((await msb("template", "ls")).stdout).toMatch(/t2x512 +2 +512 MiB/);
  expect((await msb("template", "rm", "t2x512")).code).toBe(0);
  expect(JSON.parse((await msb("template", "ls", "--json")).stdout)).toEqual([]);
});

test("doctor speaks plainly and fails only when something is broken", async () => {
  const good = await msb("doctor");
  expect(good.code).toBe(0);
  expect(good.stdout).toContain("✓ daemon");
  expect(good.stdout).toContain(
    "! accelerator  no hardware virtualization\n               → nothing: emulation is used\n",
  );
  await using broken = new TestHome();
  const child = new Msb({ ...broken.env, MSB_TEST_BROKEN: "1" }, ["doctor"]);
  const { code, stdout } = await child.finished;
  expect(code).toBe(1);
  expect(stdout).toContain("✗ qemu         QEMU is missing\n               → apt install qemu-system-x86\n");
  const unwritable = new Msb({ ...home.env, MSB_HOME: "/proc/nothing" }, ["doctor"]);
  expect(await unwritable.finished).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("✗ daemon  cannot write to /proc/nothing"),
  });
});

test("daemon start, status, logs and stop", async () => {
  await using other = new TestHome();
  const run = (...args: string[]) => new Msb(other.env, args).finished;
  expect(await run("daemon", "status")).toMatchObject({ code: 3 });
  expect((await run("daemon", "logs")).stderr).toContain("never run");
  expect((await run("daemon", "start")).stdout).toMatch(/^daemon started, process \d+\n$/);
  expect((await run("daemon", "start")).stdout).toMatch(/runs already/);
  expect((await run("daemon", "status")).stdout).toContain(`home: ${other.path}`);
  expect((await run("daemon", "logs")).stdout).toContain("serving");
  expect((await run("daemon", "stop")).stdout).toBe("daemon stopped\n");
  expect((await run("daemon", "stop")).stdout).toBe("no daemon runs\n");
});

test("events and version", async () => {
  const events = start("events", "--since", "0", "--json");
  await events.wrote("sandbox.running");
  events.child.kill("SIGINT");
  await events.finished;
  expect(JSON.parse((await msb("version", "--json")).stdout)).toMatchObject({
    client: {},
    daemon: { api: "v1" },
  });
  expect((await msb("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test("a full disk behind stdout is told, not thrown", async () => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const child = spawn(process.execPath, [main, "exec", "box", "echo", "lost"], {
    env: home.env,
    stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
  });
  let stderr = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  const [code] = await once(child, "close");
  expect([code, stderr]).toEqual([
    125,
    "msb: cannot write to stdout: ENOSPC: no space left on device, write\n",
  ]);
});

test("a folder as stdin does not stop the command", async () => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const child = spawn(process.execPath, [main, "exec", "box", "echo", "fine"], {
    env: home.env,
    stdio: [openSync(home.path, "r"), "pipe", "pipe"],
  });
  let stdout = "";
  child.stdout!.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  const [code] = await once(child, "close");
  expect([code, stdout]).toEqual([0, "fine\n"]);
});

test("every command has a help with examples, and is in the help of msb", async () => {
  const overview = (await msb("--help")).stdout;
  expect((await msb()).stdout).toBe(overview);
  await Promise.all(
    COMMANDS.map(async ({ name, summary }) => {
      expect(overview).toContain(summary);
      const { code, stdout } = await msb(name, "--help");
      expect(code).toBe(0);
      expect(stdout).toContain(`Usage: msb ${name}`);
      expect(stdout).toMatch(new RegExp(`Examples:\\n.*msb ${name}`));
      for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(120);
    }),
  );
  expect((await msb("help", "run")).stdout).toBe((await msb("run", "--help")).stdout);
}, 30_000);

test.each(["bash", "zsh", "fish"])("completion for %s knows all commands", async (shell) => {
  const { stdout } = await msb("completion", shell);
  for (const { name } of COMMANDS) expect(stdout).toContain(name);
  expect(stdout).toContain(shell === "fish" ? "-l memory" : "--memory");
});

test("the bash completion completes", async () => {
  const { stdout } = await msb("completion", "bash");
  const script = `${stdout}\nCOMP_WORDS=(msb te); COMP_CWORD=1; _msb; echo "\${COMPREPLY[@]}"
    COMP_WORDS=(msb template b); COMP_CWORD=2; _msb; echo "\${COMPREPLY[@]}"`;
  const shell = spawn("bash", ["-c", script], { stdio: "pipe" });
  let output = "";
  shell.stdout.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  await once(shell, "close");
  expect(output).toBe("template\nbuild\n");
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("waited 10 s in vain");
  }
}
