import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { allMetrics, Sandbox } from "../sdk/index.ts";
import { TestHome } from "../sdk/testing/test-home.ts";
import { Msb } from "./testing/msb.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
let home: TestHome;

const msb = (...args: string[]) => {
  const { child, finished } = new Msb(home.env, args);
  child.stdin.end();
  return finished;
};

beforeAll(async () => {
  home = new TestHome();
  expect(await msb("create", "--name", "box", "msb/base")).toMatchObject({ code: 0 });
});
afterAll(() => home[Symbol.asyncDispose]());

test("the SDK measures one, all, and again and again until it stops", async () => {
  const connection = home.connect();
  const sandbox = await Sandbox.create({ image: "msb/base", name: "watched", connection });
  expect(await sandbox.metrics()).toMatchObject({ name: "watched", guest: { processes: 3 } });
  expect((await allMetrics({ connection })).map(({ name }) => name)).toEqual(["box", "watched"]);
  let looks = 0;
  for await (const { name } of sandbox.watchMetrics({ intervalMs: 100 })) {
    expect(name).toBe("watched");
    if (++looks === 3) await sandbox.stop();
  }
  expect(looks).toBe(3);
  await expect(sandbox.metrics()).rejects.toMatchObject({ code: "invalid_state" });
  await expect(Array.fromAsync(sandbox.watchMetrics())).rejects.toMatchObject({ code: "invalid_state" });
  await expect(Array.fromAsync(sandbox.watchMetrics({ intervalMs: 1 }))).rejects.toMatchObject({
    code: "invalid_argument",
  });
  await sandbox.remove();
});

test("stats prints a table, or JSON", async () => {
  const { stdout, code } = await msb("stats", "box");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^NAME +CPU +MEMORY .*\nbox +0\.0 % +38\.1 MiB /);
  expect(JSON.parse((await msb("stats", "--json", "box")).stdout)).toMatchObject({ name: "box", cpus: 1 });
  expect((await msb("stats", "nobody")).code).toBe(1);
});

test("top without a terminal is a plain table", async () => {
  const { stdout, code } = await msb("top");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^NAME .*\nbox .*\n$/);
  expect(stdout).not.toContain("\x1b");
});

/** In a terminal of `script`'s, which takes its keys from its own stdin. */
async function topInTerminal(act: (child: ReturnType<typeof spawn>) => void) {
  const command = `stty rows 20 cols 80; exec ${process.execPath} --disable-warning=ExperimentalWarning ${MAIN} top --interval 100ms`;
  const child = spawn("script", ["-qefc", command, "/dev/null"], {
    env: { ...home.env, TERM: "xterm" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let seen = "";
  let acted = false;
  child.stdout.on("data", (chunk: Buffer) => {
    seen += chunk;
    // The second look has the CPU.
    if (acted || !/box +0\.0 %/.test(seen)) return;
    acted = true;
    act(child);
  });
  const [code] = await once(child, "close");
  return { code: code as number, seen };
}

test.each([
  ["q", "q"],
  ["Ctrl-C", "\x03"],
])("top in a terminal is live until %s, and leaves it as it was", async (_name, key) => {
  const { code, seen } = await topInTerminal((child) => child.stdin!.write(key));
  expect(code).toBe(0);
  expect(seen.startsWith("\x1b[?1049h\x1b[?25l")).toBe(true);
  expect(seen.endsWith("\x1b[?25h\x1b[?1049l")).toBe(true);
  expect(seen.split("\x1b[?1049l")).toHaveLength(2);
});
