import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sandbox, type SandboxInfo } from "../src/sdk/index.ts";
import { BASE_IMAGE, SandboxDriver, until } from "./sandbox-driver.ts";

/** What a new sandbox takes from this machine, and its command, which waits for that. */

let driver: SandboxDriver;
let folder: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("copies");
  folder = mkdtempSync(join(tmpdir(), "msb-copies-"));
  writeFileSync(join(folder, "a"), "from here\n");
  writeFileSync(join(folder, "large"), Buffer.alloc(64 * 1024 ** 2));
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const sandboxes = () => Sandbox.list({ connection: driver.connection });
const post = (path: string, body?: object) =>
  driver.connection.json<SandboxInfo>({ method: "POST", path, body, purpose: "test", deadlineMs: 60_000 });

test("a command finds what was copied for it", async () => {
  const run = await driver.msb(["run", "--copy", `${folder}/a:/srv/`, BASE_IMAGE, "cat", "/srv/a"]);
  expect(run).toMatchObject({ code: 0, stdout: "from here\n" });
  const detached = ["run", "--detach", "--name", "main", "--copy", `${folder}/a:/srv/`, BASE_IMAGE];
  expect((await driver.msb([...detached, "cat", "/srv/a"])).code).toBe(0);
  const main = await Sandbox.get("main", { connection: driver.connection });
  await until(async () => (await main.inspect()).state === "stopped", "its command has ended");
  expect((await main.inspect()).exitCode).toBe(0);
  expect((await Array.fromAsync(main.logs())).map(({ text }) => text).join("")).toContain("from here\n");
  await main.remove();
});

test("without a command, it is there when the sandbox is", async () => {
  await using sandbox = await driver.create({ copies: [{ from: `${folder}/a`, to: "/srv/b" }] });
  expect(await sandbox.files.readText("/srv/b")).toBe("from here\n");
});

test("what cannot be copied leaves no sandbox, and its command never runs", async () => {
  const run = await driver.msb(["run", "--copy", `${folder}/a:/proc/a`, BASE_IMAGE, "echo", "ran"]);
  expect([run.code, run.stdout]).toEqual([125, ""]);
  expect(run.stderr).toContain("cannot make a");
  const copies = [{ from: `${folder}/a`, to: "/proc/a" }];
  await expect(driver.create({ copies, command: ["echo", "ran"] })).rejects.toThrow("cannot make a");
  await until(async () => (await sandboxes()).length === 0, "no sandbox is left");
});

test("a client that is killed while it copies takes the sandbox of its run along", async () => {
  const child = driver.startMsb(["run", "--copy", `${folder}/large:/srv/`, BASE_IMAGE, "sleep", "600"]);
  await until(async () => (await sandboxes()).length === 1, "the sandbox is there");
  child.kill("SIGKILL");
  await until(async () => (await sandboxes()).length === 0, "the sandbox is gone");
});

test("a command that waits still waits after the daemon's death, and begins once", async () => {
  const spec = { name: "held", image: BASE_IMAGE, command: ["sleep", "600"] };
  await post("/v1/sandboxes?held=true", spec);
  await driver.killDaemon();
  const held = await Sandbox.get("held", { connection: driver.connection });
  expect((await held.shell("pidof sleep")).stdout).toBe("");
  await post("/v1/sandboxes/held/begin");
  expect((await held.shell("pidof sleep")).stdout).toMatch(/^\d+\n$/);
  await expect(post("/v1/sandboxes/held/begin")).rejects.toMatchObject({
    code: "invalid_state",
    message: "the command of sandbox 'held' has begun already",
  });
  await held.remove({ force: true });
});
