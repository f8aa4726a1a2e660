import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
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

interface Step {
  /** What is to be seen first, behind what the step before waited for. */
  seen: RegExp;
  /** @param device of the terminal */
  act(type: (keys: string) => void, device: string): void;
}

/** In a terminal of `script`'s, which takes its keys from its own stdin. */
async function topInTerminal(...steps: Step[]) {
  const command = `stty rows 20 cols 80; tty; exec ${process.execPath} --disable-warning=ExperimentalWarning ${MAIN} top --interval 100ms`;
  const child = spawn("script", ["-qefc", command, "/dev/null"], {
    env: { ...home.env, TERM: "xterm" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let all = "";
  let from = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    all += chunk;
    const [step] = steps;
    const found = step?.seen.exec(all.slice(from));
    if (step === undefined || !found) return;
    from += found.index + found[0].length;
    steps.shift();
    step.act((keys) => child.stdin.write(keys), /^\S+/.exec(all)![0]);
  });
  const [code] = await once(child, "close");
  return { code: code as number, seen: all.slice(all.indexOf("\n") + 1) };
}

// The second look has the CPU.
const LIVE = /box +0\.0 %/;

test.each([
  ["q", "q"],
  ["Ctrl-C", "\x03"],
])("top in a terminal is live until %s, and leaves it as it was", async (_name, key) => {
  const { code, seen } = await topInTerminal({ seen: LIVE, act: (type) => type(key) });
  expect(code).toBe(0);
  expect(seen.startsWith("\x1b[?1049h\x1b[?25l")).toBe(true);
  expect(seen.endsWith("\x1b[?25h\x1b[?1049l")).toBe(true);
  expect(seen.split("\x1b[?1049l")).toHaveLength(2);
});

test("top in a terminal follows its size", async () => {
  const CLEAR = "\x1b[H\x1b[2J";
  const resized = (rows: number, cols: number) => (_: unknown, device: string) =>
    execFileSync("stty", ["-F", device, "rows", String(rows), "cols", String(cols)]);
  const { seen } = await topInTerminal(
    { seen: LIVE, act: resized(5, 30) },
    { seen: /\[2J.*\nbox.*\nbox/s, act: resized(3, 60) },
    { seen: /\[2J.*quits.*quits/s, act: (type) => type("q") },
  );
  const [first, narrow, low] = seen.split(CLEAR).map(pictures);
  expect(height(first!)).toBe(4);
  expect(width(first!)).toBeGreaterThan(60);
  // The last row and the last column stay free.
  expect([height(narrow!), width(narrow!)]).toEqual([4, 29]);
  expect(height(low!)).toBe(2);
});

/** What was drawn one upon the other, as lines without what moves the cursor. */
function pictures(text: string): string[][] {
  return text
    .split("\x1b[J")
    .slice(0, -1)
    .map((picture) => stripVTControlCharacters(picture).replaceAll("\r", "").split("\n"));
}

const height = (drawn: string[][]) => Math.max(...drawn.map((lines) => lines.length));
const width = (drawn: string[][]) => Math.max(...drawn.flat().map((line) => line.length));
