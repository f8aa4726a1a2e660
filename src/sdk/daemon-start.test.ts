import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Connection, Daemon, Pool, Sandbox, SandboxError } from "./index.ts";
import { TestHome } from "./testing/test-home.ts";

let home: TestHome;
beforeEach(() => {
  home = new TestHome();
});
afterEach(() => home[Symbol.asyncDispose]());

const socketOf = () => join(home.path, "run", "daemon.sock");
const log = () => readFileSync(join(home.path, "daemon.log"), "utf8");
const servings = () => log().match(/ serving /g)?.length ?? 0;

test("ten programs at once start one daemon", { timeout: 60_000 }, async () => {
  const sdk = new URL("./index.ts", import.meta.url);
  const program = `import { Daemon, Sandbox } from "${sdk}"; await Sandbox.list(); console.log((await Daemon.status()).pid)`;
  const run = promisify(execFile);
  const results = await Promise.all(
    Array.from({ length: 10 }, () =>
      run(process.execPath, ["--input-type=module", "-e", program], { env: home.env }),
    ),
  );
  expect(new Set(results.map(({ stdout }) => stdout)).size).toBe(1);
  expect(servings()).toBe(1);
});

test("the socket is for its owner alone, from its first moment", async () => {
  await Daemon.start({ connection: home.connect() });
  expect(statSync(socketOf()).mode & 0o777).toBe(0o600);
  expect(statSync(join(home.path, "run", "daemon.lock")).mode & 0o777).toBe(0o600);
});

test("a daemon that was killed leaves a socket that is recognized as stale", async () => {
  const connection = home.connect();
  const { health } = await Daemon.start({ connection });
  process.kill(health.pid, "SIGKILL");
  await gone(health.pid);
  expect(existsSync(socketOf())).toBe(true);
  expect(await Daemon.status({ connection })).toBeUndefined();
  expect(await Sandbox.list({ connection })).toEqual([]);
  expect(servings()).toBe(2);
});

test("a request that a dying daemon took in is sent again if it changes nothing", async () => {
  mkdirSync(join(home.path, "run"), { recursive: true });
  let taken = 0;
  const dying = createServer((socket) => {
    if (taken++ % 2 === 0) return socket.destroy();
    socket.end(
      'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{"sandboxes":[]}',
    );
  }).listen(socketOf());
  await once(dying, "listening");
  try {
    const connection = home.connect();
    expect(await Sandbox.list({ connection })).toEqual([]);
    expect(taken).toBe(2);
    await expect(Sandbox.create({ image: "msb/base", connection })).rejects.toMatchObject({
      code: "unavailable",
    });
    expect(taken).toBe(3);
  } finally {
    dying.close();
  }
});

test("a daemon with nothing to do leaves, and comes back when it is needed", {
  timeout: 20_000,
}, async () => {
  process.env.MSB_IDLE_EXIT_MS = "60";
  try {
    const connection = home.connect();
    await comesAndGoes(connection);
    expect(existsSync(socketOf())).toBe(false);
    expect(log()).toContain("leaving: nothing has run");
    const sandbox = await Sandbox.create({ image: "msb/base", connection });
    // It stays while something runs: a second daemon, started later with nothing to do, leaves before it.
    const pid = (await Daemon.status({ connection }))!.pid;
    await using other = new TestHome();
    await comesAndGoes(other.connect());
    expect((await Daemon.status({ connection }))!.pid).toBe(pid);
    await sandbox[Symbol.asyncDispose]();
    await gone(pid);
  } finally {
    delete process.env.MSB_IDLE_EXIT_MS;
  }
});

test("a daemon that keeps a pool has something to do", { timeout: 20_000 }, async () => {
  process.env.MSB_IDLE_EXIT_MS = "60";
  try {
    const connection = home.connect();
    await Pool.set({ image: "msb/base", count: 1 }, { connection });
    const { pid } = (await Daemon.status({ connection }))!;
    // One that was started later, with nothing to do, leaves before it.
    await using other = new TestHome();
    await comesAndGoes(other.connect());
    expect((await Daemon.status({ connection }))!.pid).toBe(pid);
    await Pool.remove("msb/base", { connection });
    await gone(pid);
  } finally {
    delete process.env.MSB_IDLE_EXIT_MS;
  }
});

test("TERM ends it in an orderly way, and a client in the same moment meets the next one", async () => {
  const connection = home.connect();
  const { health } = await Daemon.start({ connection });
  process.kill(health.pid, "SIGTERM");
  const lists = await Promise.all(Array.from({ length: 20 }, () => Sandbox.list({ connection })));
  expect(lists.every((list) => list.length === 0)).toBe(true);
  await gone(health.pid);
  expect(log()).toContain("left");
});

test("stop waits until the daemon is gone, and says when there was none", async () => {
  const connection = home.connect();
  const { health } = await Daemon.start({ connection });
  expect(await Daemon.stop({ connection })).toBe(true);
  expect(() => process.kill(health.pid, 0)).toThrow();
  expect(await Daemon.stop({ connection })).toBe(false);
});

test("a home that cannot be written is permission_denied, with its path and what to do", async () => {
  const file = join(home.path, "file");
  writeFileSync(file, "");
  for (const path of [join(file, "home"), "/proc/msb-home"]) {
    const error = await Sandbox.list({ connection: home.connect({ home: path }) }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(SandboxError);
    expect(error).toMatchObject({ code: "permission_denied" });
    expect(error.message).toContain(path);
    expect(error.hint).toContain("MSB_HOME");
  }
});

test("a home with too long a path says so", async () => {
  const path = join(home.path, "x".repeat(100));
  const error = await Sandbox.list({ connection: home.connect({ home: path }) }).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "invalid_argument", hint: "set MSB_HOME to a shorter path" });
});

test("without autoStart nothing is started", async () => {
  const connection = home.connect({ autoStart: false });
  const error = await Sandbox.list({ connection }).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "unavailable", hint: "msb daemon start" });
  expect(existsSync(join(home.path, "daemon.log"))).toBe(false);
});

test("a daemon that cannot start says why", async () => {
  process.env.MSB_IDLE_EXIT_MS = "soon";
  try {
    const error = await Sandbox.list({ connection: home.connect() }).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: "invalid_argument" });
    expect(error.message).toContain('MSB_IDLE_EXIT_MS must be a whole number of milliseconds, it is "soon"');
  } finally {
    delete process.env.MSB_IDLE_EXIT_MS;
  }
});

test("an idle daemon of another build is replaced; a busy one is not, with one warning", async () => {
  const program = join(home.path, "daemon.ts");
  writeFileSync(program, `await import(${JSON.stringify(process.env.MSB_DAEMON)});\n`);
  const first = await Daemon.start({ connection: home.connect() });
  process.env.MSB_DAEMON = program;
  await Sandbox.list({ connection: home.connect() });
  const second = await Daemon.status({ connection: home.connect() });
  expect(second!.pid).not.toBe(first.health.pid);
  expect(log()).toContain("a client of build");

  await Sandbox.create({ image: "msb/base", connection: home.connect({ autoStart: false }) });
  const warnings: string[] = [];
  const connection = home.connect({ onWarning: (message) => warnings.push(message) });
  await Sandbox.list({ connection });
  await Sandbox.list({ connection });
  expect((await Daemon.status({ connection }))!.pid).toBe(second!.pid);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain("msb daemon stop");
});

test("a log that has grown too large is put aside", async () => {
  const file = join(home.path, "daemon.log");
  writeFileSync(file, "old\n");
  truncateSync(file, 11 * 1024 * 1024);
  await Daemon.start({ connection: home.connect() });
  expect(statSync(`${file}.1`).size).toBeGreaterThan(11 * 1024 * 1024 - 1);
  expect(statSync(file).size).toBeLessThan(10_000);
  expect(log()).toContain("serving");
});

test("the daemon takes none of its starter's environment but what it needs", async () => {
  process.env.MSB_TEST_SECRET_FREE = "kept";
  process.env.AWS_SECRET_ACCESS_KEY = "secret";
  try {
    const { health } = await Daemon.start({ connection: home.connect() });
    const environment = readFileSync(`/proc/${health.pid}/environ`, "utf8");
    expect(environment).toContain("MSB_TEST_SECRET_FREE=kept");
    expect(environment).not.toContain("secret\0");
  } finally {
    delete process.env.MSB_TEST_SECRET_FREE;
    delete process.env.AWS_SECRET_ACCESS_KEY;
  }
});

test("a program that hangs where the daemon should be is given up on", async () => {
  const program = join(home.path, "hangs.mjs");
  writeFileSync(program, "setInterval(() => {}, 1000); setTimeout(() => process.exit(), 5000)\n");
  process.env.MSB_DAEMON = program;
  const error = await Sandbox.list({ connection: home.connect({ startDeadlineMs: 100 }) }).catch(
    (thrown) => thrown,
  );
  expect(error).toMatchObject({ code: "timeout", message: "the daemon has not come up within 0.1 s" });
});

test("a daemon that answers nonsense or breaks off is unavailable, and says so", async () => {
  const connection = home.connect();
  const server = createServer((socket) => socket.once("data", () => socket.destroy()));
  await Daemon.start({ connection });
  await Daemon.stop({ connection });
  server.listen(socketOf());
  await once(server, "listening");
  const error = await Sandbox.list({ connection: home.connect() }).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "unavailable" });
  expect(error.message).toContain("cannot list sandboxes: the connection to the daemon broke");
  server.close();
  await once(server, "close");
});

test("a daemon in the foreground serves too", async () => {
  const child = spawn(process.execPath, [process.env.MSB_DAEMON!], {
    env: home.env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [line] = await once(child.stderr, "data");
  expect(String(line)).toContain(`serving ${socketOf()}`);
  child.kill("SIGINT");
  expect(await once(child, "exit")).toEqual([0, null]);
});

async function gone(pid: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    if (performance.now() > deadline) throw new Error(`process ${pid} is still there`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Starts a daemon that has nothing to do, and waits for its end. On a busy machine it has left before it could be asked. */
async function comesAndGoes(connection: Connection): Promise<void> {
  const started = await Daemon.start({ connection }).catch((error) => error);
  if (started instanceof Error) expect(started.message).toBe("the daemon started and left at once");
  else await gone(started.health.pid);
}
