import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Connection } from "./index.ts";
import { Daemon, events, Image, Sandbox, SandboxError, Template } from "./index.ts";
import { TestHome } from "./testing/test-home.ts";

let home: TestHome;
let connection: Connection;
let box: Sandbox;

beforeAll(async () => {
  home = new TestHome();
  connection = home.connect();
  box = await Sandbox.create({ image: "msb/base", name: "box", env: { FROM: "spec" }, connection });
});
afterAll(() => home[Symbol.asyncDispose]());

const failure = async (promise: Promise<unknown>): Promise<SandboxError> => {
  try {
    await promise;
  } catch (error) {
    if (error instanceof SandboxError) return error;
    throw error;
  }
  throw new Error("it did not fail");
};

test("exec gives both streams, the exit code and bytes as they are", async () => {
  const bytes = Buffer.from([0, 1, 254, 255]);
  const result = await box.exec("sh", ["-c", "cat; echo $FROM $MORE >&2; exit 3"], {
    stdin: bytes,
    env: { MORE: "exec" },
  });
  expect(result).toMatchObject({ exitCode: 3, stderr: "spec exec\n", timedOut: false, signal: undefined });
  expect(result.stdoutBytes).toEqual(bytes);
});

test("shell runs a script", async () => {
  expect((await box.shell("echo $((6 * 7))")).stdout).toBe("42\n");
});

test("an exec that takes too long is ended in the sandbox", async () => {
  expect(await box.exec("sleep", ["1000"], { timeoutMs: 50 })).toMatchObject({
    timedOut: true,
    signal: "SIGTERM",
    exitCode: 143,
  });
});

test("what is too long for one message is refused before it is sent, and says so", async () => {
  const long = "x".repeat(1024 * 1024);
  const run = Sandbox.run({ image: "msb/base", env: { LONG: long }, connection }, ["true"]);
  for (const promise of [
    run.wait(),
    run.sandbox,
    box.execStream("true", [], { env: { LONG: long } }).wait(),
  ]) {
    expect(await failure(promise)).toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/at most 1048576 can be sent/),
    });
  }
  const fits = await box.execStream("true", Array(10).fill(long.slice(0, 100_000))).wait();
  expect(fits.exitCode).toBe(0);
});

test("errors carry code, message, hint and details", async () => {
  const missing = await failure(box.exec("no-such-command"));
  expect(missing).toMatchObject({ code: "not_found", details: { exitCode: 127 } });
  const gone = await failure(Sandbox.get("nobody", { connection }));
  expect(gone).toMatchObject({
    code: "not_found",
    message: "there is no sandbox nobody",
    hint: "msb ls shows all",
  });
  const bad = await failure(Sandbox.create({ image: "msb/base", cpus: 0, connection }));
  expect(bad).toMatchObject({ code: "invalid_argument", details: { field: "cpus" } });
});

test("a cancelled exec rejects, and its process ends", async () => {
  const file = join(home.path, "pid");
  const abort = new AbortController();
  const running = box.shell(`echo $$ > ${file}.new; mv ${file}.new ${file}; exec sleep 1000`, {
    signal: abort.signal,
  });
  await until(async () => existsSync(file));
  abort.abort();
  expect(await failure(running)).toMatchObject({ code: "cancelled" });
  await waitForDeath(Number(readFileSync(file, "utf8")));
  const before = AbortSignal.abort();
  expect(await failure(box.exec("true", [], { signal: before }))).toMatchObject({ code: "cancelled" });
});

test("a deadline says what was waited for", async () => {
  const slow = Sandbox.create({ image: "test/slow", deadlineMs: 30, connection });
  expect(await failure(slow)).toMatchObject({
    code: "timeout",
    message: "could not create a sandbox within 30 ms",
  });
});

test("await using removes the sandbox", async () => {
  let name: string;
  {
    await using sandbox = await Sandbox.create({ image: "msb/base", connection });
    name = sandbox.name;
  }
  expect(await failure(Sandbox.get(name, { connection }))).toMatchObject({ code: "not_found" });
});

test("stop, start, inspect, list, kill and remove", async () => {
  const sandbox = await Sandbox.create({ image: "msb/base", name: "life", labels: { k: "v" }, connection });
  expect(await sandbox.stop({ graceMs: 10 })).toMatchObject({ state: "stopped" });
  expect(await failure(sandbox.exec("true"))).toMatchObject({
    code: "invalid_state",
    hint: "msb start life",
  });
  expect(await sandbox.start()).toMatchObject({ state: "running" });
  expect(sandbox.info.state).toBe("running");
  const listed = await Sandbox.list({ states: ["running", "paused"], labels: { k: "v" }, connection });
  expect(listed.map(({ name }) => name)).toEqual(["life"]);
  expect(await failure(sandbox.remove())).toMatchObject({ code: "invalid_state" });
  await sandbox.kill();
  await sandbox.remove();
  expect(await failure(sandbox.inspect())).toMatchObject({ code: "not_found" });
});

test("execStream: stdin, output as it comes, exit", async () => {
  const process_ = box.execStream("sh", [
    "-c",
    "while read line; do echo got $line; done; echo end >&2; exit 6",
  ]);
  const seen: string[] = [];
  await process_.stdin.write("one\n");
  for await (const event of process_) {
    if (event.type === "exit") seen.push(`exit ${event.exitCode}`);
    else if (event.type === "output") {
      seen.push(`${event.stream} ${event.data.toString().trim()}`);
      if (seen.length === 1) await process_.stdin.write("two\n");
      if (seen.length === 2) await process_.stdin.end();
    }
  }
  expect(seen).toEqual(["stdout got one", "stdout got two", "stderr end", "exit 6"]);
  expect(await process_.exit).toMatchObject({ exitCode: 6 });
  expect((await process_.started).pid).toBeGreaterThan(1);
});

test("many megabytes through stdin and back arrive whole", async () => {
  const size = 24 * 1024 * 1024;
  const process_ = box.execStream("cat");
  const chunk = Buffer.alloc(1_000_003, "x");
  const fed = process_.pipeFrom(
    Readable.from(
      (function* () {
        for (let left = size; left > 0; left -= chunk.length) yield chunk.subarray(0, left);
      })(),
    ),
  );
  let received = 0;
  for await (const event of process_) if (event.type === "output") received += event.data.length;
  await fed;
  expect(received).toBe(size);
});

test("an iteration that is left early ends the process", async () => {
  const process_ = box.execStream("sh", ["-c", "echo $$; exec sleep 1000"]);
  let pid = 0;
  for await (const event of process_) {
    if (event.type === "output") pid = Number(event.data.toString());
    break;
  }
  await waitForDeath(pid);
  expect(await failure(process_.exit)).toMatchObject({ code: "cancelled" });
});

test("wait throws output away, so that nothing is held back", async () => {
  const process_ = box.execStream("head", ["-c", "10000000", "/dev/zero"]);
  expect(await process_.wait()).toEqual({ exitCode: 0 });
});

test("kill signals a process; abort ends it", async () => {
  const killed = box.execStream("sleep", ["1000"]);
  await killed.started;
  killed.kill("INT");
  expect(await killed.wait()).toMatchObject({ exitCode: 130, signal: "SIGINT" });
  const abort = new AbortController();
  const aborted = box.execStream("sleep", ["1000"], { signal: abort.signal });
  await aborted.started;
  abort.abort();
  expect(await failure(aborted.wait())).toMatchObject({ code: "cancelled" });
});

test("writers to a process that has ended are let go", async () => {
  const process_ = box.execStream("true");
  const writing = (async () => {
    for (let count = 0; count < 50; count++) await process_.stdin.write(Buffer.alloc(100_000));
  })();
  expect(await process_.wait()).toEqual({ exitCode: 0 });
  await writing;
});

test("a stream's failure is the same in all its promises", async () => {
  const process_ = box.execStream("no-such-command");
  for (const promise of [process_.started, process_.exit, process_[Symbol.asyncIterator]().next()]) {
    expect(await failure(promise)).toMatchObject({ code: "not_found", details: { exitCode: 127 } });
  }
});

test("trees as tars: what fails before the first byte has its code, what fails later is no end", async () => {
  const whole = await (await box.files.archive("/a b", { follow: true })).toArray();
  expect(Buffer.concat(whole).toString()).toBe("/a b true");
  expect((await failure(box.files.archive("/missing"))).code).toBe("not_found");
  const broken = await box.files.archive("/broken");
  expect(await failure(broken.toArray())).toMatchObject({ code: "unavailable" });
  await box.files.extract("/to", Buffer.from("x"));
  const taken = box.files.extract("/taken", Readable.from([Buffer.alloc(200_000)]), {
    uid: 7,
    keepOwners: true,
  });
  expect(await failure(taken)).toMatchObject({
    code: "already_exists",
    message: '200000 bytes, {"uid":7,"keepOwners":true}',
  });
  expect((await failure(box.files.extract("/to", Buffer.from("x"), { gid: -1 }))).code).toBe(
    "invalid_argument",
  );
});

test("changes of files: what is wrong before has a code, what goes wrong later too, and leaving ends it", async () => {
  expect((await failure(box.files.watch("/missing"))).code).toBe("not_found");
  const seen = [];
  for await (const change of await box.files.watch("/a", { recursive: true, exclude: ["x y", "**/z"] }))
    seen.push(change);
  expect(seen).toEqual([
    { type: "created", path: '{"recursive":true,"exclude":["x y","**/z"]}', isFolder: true },
    { type: "moved", path: "b", from: "a", isFolder: false },
  ]);
  const broken = await box.files.watch("/broken", { exclude: ["one"] });
  expect((await broken.next()).value?.path).toBe('{"exclude":["one"]}');
  expect((await failure(broken.next())).code).toBe("resource_exhausted");
  const many = box.files.watch("/a", { exclude: Array.from({ length: 33 }, () => "a") });
  expect((await failure(many)).code).toBe("invalid_argument");

  const left = await box.files.watch("/endless");
  for await (const _ of left) break;
  expect(await left.next()).toEqual({ done: true, value: undefined });
  const closed = await box.files.watch("/endless");
  await closed.next();
  const waiting = closed.next();
  await closed[Symbol.asyncDispose]();
  expect(await waiting).toEqual({ done: true, value: undefined });
  const stop = new AbortController();
  const stopped = await box.files.watch("/endless", { signal: stop.signal });
  await stopped.next();
  const last = failure(stopped.next());
  stop.abort();
  expect((await last).code).toBe("cancelled");
});

test("run: one command, one sandbox, gone afterwards", async () => {
  const told: string[] = [];
  const onProgress = ({ task }: { task: string }) => told.push(task);
  const process_ = Sandbox.run({ image: "test/slow", env: { A: "b" }, onProgress, connection }, [
    "sh",
    "-c",
    "echo $A",
  ]);
  let text = "";
  for await (const event of process_) if (event.type === "output") text += event.data;
  expect(text).toBe("b\n");
  expect(told).toContain("building the template");
  const { id, timings } = await process_.sandbox;
  expect(timings[0]).toMatchObject({ name: "image" });
  await until(async () => (await Sandbox.list({ connection })).every((sandbox) => sandbox.id !== id));
});

test("run: a failure to create shows everywhere", async () => {
  const process_ = Sandbox.run({ image: "no/such", connection }, ["true"]);
  expect(await failure(process_.sandbox)).toMatchObject({ code: "not_found" });
  expect(await failure(process_.wait())).toMatchObject({ code: "not_found" });
});

test("logs and console", async () => {
  const sandbox = await Sandbox.create({ image: "msb/base", name: "logged", connection });
  await sandbox.shell("echo first");
  const following = sandbox.logs({ follow: true });
  expect((await following.next()).value).toMatchObject({ stream: "stdout", text: "first\n" });
  await sandbox.shell("echo second >&2");
  expect((await following.next()).value).toMatchObject({ stream: "stderr", text: "second\n" });
  await following.return(undefined);
  expect(await sandbox.console()).toBe("console of logged\n");
  await sandbox[Symbol.asyncDispose]();
});

test("events come as they happen, and again from where one left", async () => {
  const abort = new AbortController();
  const first = events({ since: 0, connection, signal: abort.signal });
  const { value } = await first.next();
  expect(value).toMatchObject({ seq: 1, type: "sandbox.running" });
  abort.abort();
  const again = events({ since: 1, connection });
  await Sandbox.create({ image: "msb/base", connection });
  expect((await again.next()).value).toMatchObject({ seq: 2 });
  await again.return(undefined);
});

test("images: import a file or a stream with a config, list, remove", async () => {
  const file = join(home.path, "root.tar");
  writeFileSync(file, Buffer.alloc(3_000_000));
  expect(await Image.import("my/image", file, { connection })).toMatchObject({
    name: "my/image",
    sizeBytes: 3_000_000,
  });
  const config = { config: { Env: ["A=ä"] } };
  const streamed = await Image.import("my/other", createReadStream(file), { config, connection });
  expect(streamed.digest).toMatch(/^sha256:/);
  await Image.remove("my/image", { connection });
  const names = (await Image.list({ connection })).map(({ name }) => name);
  expect(names).toContain("my/other");
  expect(names).not.toContain("my/image");
  await expect(Image.import("x", "/no/such.tar", { connection })).rejects.toMatchObject({ code: "ENOENT" });
});

test("templates: build with progress, list, remove", async () => {
  const told: string[] = [];
  const built = await Template.build(
    { cpus: 1, memoryMiB: 512 },
    { connection, onProgress: ({ task }) => told.push(task) },
  );
  expect(told).toContain("building the template");
  expect(await Template.list({ connection })).toEqual([built]);
  await Template.remove(built.key, { connection });
  expect(await Template.list({ connection })).toEqual([]);
});

test("health, version and doctor", async () => {
  expect(await Daemon.status({ connection })).toMatchObject({ status: "ok", home: home.path });
  expect(await Daemon.version({ connection })).toMatchObject({ api: "v1" });
  expect((await Daemon.doctor({ connection }))[0]).toMatchObject({ name: "node", status: "ok" });
});

test("a program that has used the SDK ends by itself", async () => {
  const sdk = new URL("./index.ts", import.meta.url);
  const program = `import { Sandbox } from "${sdk}"; await Sandbox.list(); console.log((await Sandbox.list()).length > 0)`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    env: home.env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const [code] = await once(child, "close");
  expect([code, Buffer.concat(chunks).toString()]).toEqual([0, "true\n"]);
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("waited 10 s in vain");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const waitForDeath = (pid: number) =>
  until(async () => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
