import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestHome } from "../sdk/testing/test-home.ts";
import { Msb } from "./testing/msb.ts";

let home: TestHome;
const msb = (...args: string[]) => {
  const { child, finished } = new Msb(home.env, args);
  child.stdin.end();
  return finished;
};
beforeAll(async () => {
  home = new TestHome();
  expect(await msb("create", "--name", "box", "-e", "A=1", "msb/base")).toMatchObject({ code: 0 });
});
afterAll(() => home[Symbol.asyncDispose]());

test("a suspended sandbox is listed as such, and goes on", async () => {
  expect(await msb("suspend", "box")).toMatchObject({ code: 0, stdout: "box\n" });
  expect((await msb("ls")).stdout).toMatch(/^box +msb\/base +suspended /m);
  expect((await msb("ls", "--state", "suspended", "-q")).stdout).toBe("box\n");
  expect((await msb("suspend", "box")).stderr).toContain("suspended");
  expect(await msb("resume", "box")).toMatchObject({ code: 0, stdout: "box\n" });
  const idle = ["--idle-timeout", "5m", "--on-idle", "suspend"];
  const made = await msb("create", ...idle, "--json", "msb/base");
  expect(JSON.parse(made.stdout)).toMatchObject({ spec: { idleTimeoutMs: 300_000, onIdle: "suspend" } });
});

test("fork prints the names of what it made", async () => {
  expect(await msb("fork", "box", "--count", "3", "--name", "try")).toMatchObject({
    code: 0,
    stdout: "try-1\ntry-2\ntry-3\n",
  });
  expect(JSON.parse((await msb("fork", "box", "--json")).stdout)).toMatchObject([{ state: "running" }]);
  expect(await msb("fork", "box", "--count", "101")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^msb: --count: /),
  });
});

test("a snapshot is stored, listed, shown, checked, restored and removed", async () => {
  expect(await msb("snapshot", "create", "box", "before")).toMatchObject({ code: 0, stdout: "before\n" });
  expect(await msb("snapshot", "create", "box", "before")).toMatchObject({ code: 1 });
  const { stdout } = await msb("snapshot", "ls");
  expect(stdout).toMatch(
    /^NAME +OF +KIND +IMAGE +MEMORY +ON DISK +PARENT +AGE\nbefore +box +running +msb\/base +256 MiB +25\.0 MiB /,
  );
  expect(JSON.parse((await msb("snapshot", "inspect", "before")).stdout)).toMatchObject([{ name: "before" }]);
  expect(await msb("snapshot", "verify", "before")).toMatchObject({ code: 0, stdout: "before\n" });
  const restored = await msb(
    "restore",
    "before",
    "--name",
    "again",
    "-e",
    "B=2",
    "-l",
    "x=y",
    "-p",
    "8081:80",
    "--json",
  );
  expect(JSON.parse(restored.stdout)).toMatchObject([
    {
      name: "again",
      spec: { env: { A: "1", B: "2" }, labels: { x: "y" }, network: { ports: [{ host: 8081, guest: 80 }] } },
    },
  ]);
  expect((await msb("restore", "before", "--count", "2", "--name", "of")).stdout).toBe("of-1\nof-2\n");
  expect((await msb("exec", "of-2", "sh", "-c", "echo $A")).stdout).toBe("1\n");
  expect(await msb("snapshot", "rm", "before", "nothing")).toMatchObject({
    code: 1,
    stdout: "before\n",
    stderr: expect.stringContaining("no snapshot 'nothing'"),
  });
});

test("a snapshot that is damaged says which file, and can be removed", async () => {
  await msb("snapshot", "create", "box", "broken");
  expect(await msb("snapshot", "verify", "broken")).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringContaining("delta/0.pages"),
  });
  expect(await msb("snapshot", "rm", "broken")).toMatchObject({ code: 0, stdout: "broken\n" });
  expect((await msb("snapshot", "ls", "-q")).stdout).not.toContain("broken");
});

test("an export warns that it holds secrets, unless it is encrypted, and is its owner's alone", async () => {
  await msb("snapshot", "create", "box", "keep");
  const file = join(home.path, "keep.msb");
  const warned = await msb("snapshot", "export", "keep", "-o", file);
  expect(warned).toMatchObject({ code: 0, stdout: "" });
  expect(warned.stderr).toMatch(
    /^warning: .*memory and disks, with all secrets.*not encrypted\nhint: --passphrase-file/,
  );
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const passphrase = join(home.path, "passphrase");
  writeFileSync(passphrase, "größe 8\n");
  const flag = ["--passphrase-file", passphrase];
  expect(await msb("snapshot", "export", "keep", "-o", file, ...flag)).toMatchObject({ code: 0, stderr: "" });
  expect(readFileSync(file, "utf8")).toMatch(/^größe 8\n/);
  expect((await msb("snapshot", "import", file, "--name", "there")).code).toBe(1);
  expect(await msb("snapshot", "import", file, "--name", "there", ...flag)).toMatchObject({
    code: 0,
    stdout: "there\n",
  });
  const { stdoutBytes } = await msb("snapshot", "export", "there");
  const through = new Msb(home.env, ["snapshot", "import", "--name", "piped"]);
  through.child.stdin.end(stdoutBytes);
  expect(await through.finished).toMatchObject({ code: 0, stdout: "piped\n" });
});

test.each([
  ["", "no passphrase in"],
  ["\n", "no passphrase in"],
  ["x".repeat(1025), "longer than 1024 bytes"],
])("a passphrase file with %j is refused", async (content, message) => {
  const path = join(home.path, "bad");
  writeFileSync(path, content);
  const out = join(home.path, "never");
  const { code, stderr } = await msb("snapshot", "export", "keep", "-o", out, "--passphrase-file", path);
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(message) });
  expect(existsSync(out)).toBe(false);
});

test("a prepared image is made once, and run", async () => {
  const flag = join(home.path, "flag");
  const prepare = [
    "prepare",
    "-m",
    "512M",
    "msb/base",
    "--run",
    `echo > ${flag}; exec sleep 1000`,
    "--as",
    "warm",
  ];
  expect(await msb(...prepare, "--ready", `test -e ${flag}`)).toMatchObject({ code: 0, stdout: "warm\n" });
  const list = async () => JSON.parse((await msb("snapshot", "ls", "--prepared", "--json")).stdout);
  const [first] = await list();
  expect(await msb(...prepare, "--ready", `test -e ${flag}`)).toMatchObject({ code: 0, stdout: "warm\n" });
  expect(await list()).toEqual([first]);
  await msb(...prepare, "--ready", `test -e ${flag}`, "--force");
  expect(await list()).not.toEqual([first]);
  expect((await msb("snapshot", "ls")).stdout).toMatch(/^warm +prepare-warm +prepared +msb\/base +512 MiB/m);
  expect((await msb("run", "-e", "B=2", "warm", "--", "sh", "-c", "echo $B")).stdout).toBe("2\n");
  expect(await msb("run", "warm")).toMatchObject({
    code: 125,
    stderr: expect.stringContaining("names no command"),
  });
  expect(await msb("run", "-c", "4", "warm", "true")).toMatchObject({
    code: 125,
    stderr: expect.stringContaining("`cpus` cannot be chosen"),
  });
});

test("what cannot be prepared says why", async () => {
  const failed = await msb(
    "prepare",
    "msb/base",
    "--run",
    "echo no such thing >&2; exit 42",
    "--as",
    "never",
  );
  expect(failed).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("ended with 42:\nno such thing\n"),
  });
  const late = ["--run", "exec sleep 1000", "--ready", "false", "--ready-timeout", "100ms"];
  expect(await msb("prepare", "msb/base", ...late, "--as", "never")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("was not ready after 0.1 s"),
  });
  expect((await msb("prepare", "msb/base", "--as", "never")).code).toBe(2);
});

test("Tab offers snapshots, and prepared images where an image is wanted", async () => {
  const script = (await msb("completion", "bash")).stdout;
  const main = new URL("./main.ts", import.meta.url).pathname;
  const ask = (...words: string[]) =>
    `COMP_WORDS=(msb ${words.join(" ")} ''); COMP_CWORD=${words.length + 1}; _msb; echo "\${COMPREPLY[*]}"`;
  const shell = spawn("bash", ["-s"], { env: home.env, stdio: "pipe" });
  let output = "";
  shell.stdout.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  shell.stdin.end(
    `msb() { "${process.execPath}" "${main}" "$@"; }\n${script}\n${ask("restore")}\n${ask("run")}\n`,
  );
  await once(shell, "close");
  const [restore = "", run = ""] = output.trimEnd().split("\n");
  expect(restore.split(" ")).toEqual(expect.arrayContaining(["keep", "there", "warm", "--count"]));
  expect(run.split(" ")).toEqual(expect.arrayContaining(["msb/base", "warm"]));
  expect(run.split(" ")).not.toContain("keep");
});
