import { afterAll, beforeAll, expect, test } from "vitest";
import { STDIN_WINDOW } from "../contract/index.ts";
import { eventually, TestServer } from "./testing/serve.ts";

let server: TestServer;
const sandbox = { image: "msb/base" };

beforeAll(async () => {
  server = await TestServer.start();
  const { sandboxSpec } = await import("../contract/index.ts");
  await server.engine.sandboxes.create(sandboxSpec.parse({ image: "msb/base", name: "box" }));
});
afterAll(() => server[Symbol.asyncDispose]());

const exec = (...argv: string[]) => server.open("/v1/sandboxes/box/exec", { type: "exec", exec: { argv } });
const boundSandboxes = () => server.engine.sandboxes.list().filter(({ name }) => name !== "box");

test("streams come apart, then the exit, then the end", async () => {
  const client = await exec("sh", "-c", "echo out; echo error >&2; exit 5");
  expect(await client.closed).toBe(1000);
  expect(client.output).toEqual({ stdout: 4, stderr: 6 });
  expect(client.messages.map(({ type }) => type)).toEqual(["started", "exit"]);
  expect(client.messages[1]).toEqual({ type: "exit", status: { exitCode: 5 } });
});

test("stdin and its end reach the process, even when sent before it runs", async () => {
  const client = await exec("wc", "-c");
  client.stdin("12345");
  client.say({ type: "stdin_end" });
  await client.closed;
  expect(client.text.trim()).toBe("5");
});

test("signals reach the process", async () => {
  const client = await exec(
    "sh",
    "-c",
    "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.01; done",
  );
  await client.until(() => client.text.includes("ready"));
  client.say({ type: "signal", signal: "USR1" });
  expect(await client.message("exit")).toMatchObject({ status: { exitCode: 3 } });
});

test("an unknown signal does not end what runs", async () => {
  const client = await exec("sh", "-c", "read line; echo $line");
  client.say({ type: "signal", signal: "NONSENSE" });
  client.stdin("still here\n");
  await client.closed;
  expect(client.text).toBe("still here\n");
});

test("a command that is not there is the answer, with its exit code", async () => {
  const client = await exec("no-such-command");
  expect(await client.message("error")).toMatchObject({
    error: { code: "not_found", details: { exitCode: 127 } },
  });
});

test.each([
  ["no JSON", "{", "the message is not JSON"],
  ["another type", '{"type":"stdin_end"}', "the first message must be"],
  ["a bad command", '{"type":"exec","exec":{"argv":[]}}', "a command has at least a name"],
  ["bytes", Buffer.from([0, 1]), "the first message must be"],
])("a first message that is %s is refused", async (_what, data, sentence) => {
  const { WebSocket } = await import("ws");
  const socket = new WebSocket(`ws+unix:${server.socketPath}:/v1/sandboxes/box/exec`);
  const message = new Promise<string>((resolve) => socket.once("message", (raw) => resolve(raw.toString())));
  socket.once("open", () => socket.send(data));
  expect(await message).toContain(sentence);
});

test("a client that does not read holds the process back, and memory stays bounded", async () => {
  const { sandboxes } = server.engine;
  const exec_ = sandboxes.exec.bind(sandboxes);
  let taken = 0;
  let held = 0;
  sandboxes.exec = async (...args) => {
    const process = await exec_(...args);
    const { onOutput } = process;
    process.onOutput = (listener) =>
      onOutput.call(process, (stream, chunk) => {
        taken += chunk.length;
        const slow = listener(stream, chunk);
        if (slow === undefined) return undefined;
        held++;
        return slow.then(() => {
          held--;
        });
      });
    return process;
  };
  const total = 64 * 1024 * 1024;
  const client = await exec("head", "-c", String(total), "/dev/zero");
  client.socket.pause();
  await eventually("the process to be held back", () => held > 0);
  sandboxes.exec = exec_;
  expect(taken).toBeLessThan(4 * 1024 * 1024);
  client.socket.resume();
  await client.closed;
  expect(client.output.stdout).toBe(total);
});

test("a signal gets past stdin that nobody reads", async () => {
  const client = await exec("sleep", "1000");
  client.stdin(Buffer.alloc(STDIN_WINDOW / 2));
  client.say({ type: "signal", signal: "TERM" });
  expect(await client.message("exit")).toMatchObject({ status: { exitCode: 143, signal: "SIGTERM" } });
});

test("a client that ignores its window is paused, and served when the process reads", async () => {
  const client = await exec("sh", "-c", "read line; wc -c");
  const size = 8 * STDIN_WINDOW;
  await client.message("started");
  for (let sent = 0; sent < size; sent += 65536) client.stdin(Buffer.alloc(65536));
  client.stdin("\n");
  client.say({ type: "stdin_end" });
  await client.closed;
  expect(client.messages.some(({ type }) => type === "stdin_window")).toBe(true);
  expect(client.messages.at(-1)).toMatchObject({ type: "exit", status: { exitCode: 0 } });
});

test("a process whose client has gone is ended", async () => {
  const client = await exec("sh", "-c", "echo $$; sleep 1000");
  await client.until(() => client.text.includes("\n"));
  const pid = Number(client.text);
  client.socket.terminate();
  await eventually("the process to end", () => !alive(pid));
});

test("run creates, runs and removes", async () => {
  const client = await server.open("/v1/run", { type: "run", sandbox, exec: { argv: ["echo", "hi"] } });
  await client.closed;
  expect(client.text).toBe("hi\n");
  expect(client.messages.map(({ type }) => type)).toEqual(["sandbox", "started", "exit"]);
  await eventually("the sandbox to be removed", () => boundSandboxes().length === 0);
});

test("run without a command runs the image's", async () => {
  const client = await server.open("/v1/run", { type: "run", sandbox, exec: {} });
  await client.closed;
  expect(client.text).toBe("default\n");
});

test("run of an image without a command is refused and leaves nothing", async () => {
  const client = await server.open("/v1/run", { type: "run", sandbox: { image: "test/nothing" }, exec: {} });
  expect(await client.message("error")).toMatchObject({ error: { code: "invalid_argument" } });
  await client.closed;
  await eventually("nothing to be left", () => boundSandboxes().length === 0);
});

test("a run whose client goes is removed", async () => {
  const client = await server.open("/v1/run", { type: "run", sandbox, exec: { argv: ["sleep", "1000"] } });
  await client.message("started");
  expect(boundSandboxes()).toHaveLength(1);
  client.socket.terminate();
  await eventually("the sandbox to be removed", () => boundSandboxes().length === 0);
});

test("a run whose client goes while it is being created leaves nothing", async () => {
  const slow = { image: "test/slow" };
  const client = await server.open("/v1/run", { type: "run", sandbox: slow, exec: { argv: ["true"] } });
  await client.message("progress");
  client.socket.terminate();
  await eventually("the server to be idle", () => boundSandboxes().length === 0);
});

test("a run with keep leaves the sandbox running", async () => {
  const spec = { image: "msb/base", name: "kept" };
  const client = await server.open("/v1/run", {
    type: "run",
    sandbox: spec,
    exec: { argv: ["true"] },
    keep: true,
  });
  await client.closed;
  expect(server.engine.sandboxes.get("kept").state).toBe("running");
  await server.engine.sandboxes.remove("kept", { force: true });
});

test("a run with keep whose command is not there leaves nothing", async () => {
  const spec = { image: "msb/base", name: "unkept" };
  const client = await server.open("/v1/run", {
    type: "run",
    sandbox: spec,
    exec: { argv: ["nope"] },
    keep: true,
  });
  await client.closed;
  await eventually("nothing to be left", () => boundSandboxes().length === 0);
});

test("browsers are refused", async () => {
  const opening = server.open(
    "/v1/sandboxes/box/exec",
    { type: "exec", exec: { argv: ["true"] } },
    { origin: "http://evil.example" },
  );
  await expect(opening).rejects.toThrow("403");
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
