import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Connection, Image, Sandbox, SandboxError, Snapshot } from "./index.ts";
import { TestHome } from "./testing/test-home.ts";

let home: TestHome;
let connection: Connection;
let box: Sandbox;

beforeAll(async () => {
  home = new TestHome();
  connection = home.connect();
  box = await Sandbox.create({ image: "msb/base", name: "box", env: { A: "1" }, connection });
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

test("a sandbox is suspended and goes on", async () => {
  expect(await box.suspend()).toMatchObject({ state: "suspended" });
  expect(box.info.state).toBe("suspended");
  expect(await box.resume()).toMatchObject({ state: "running" });
});

test("forks are sandboxes that can be used at once", async () => {
  const children = await box.fork({ count: 3, name: "child" });
  expect(children.map(({ name }) => name)).toEqual(["child-1", "child-2", "child-3"]);
  expect((await children[1]!.shell("echo $A")).stdout).toBe("1\n");
});

test("a snapshot is found, checked, restored with changes, and removed", async () => {
  const snapshot = await box.snapshot({ name: "before" });
  expect(snapshot).toMatchObject({ name: "before", info: { kind: "running", sandbox: { name: "box" } } });
  expect((await Snapshot.get("before", { connection })).info).toEqual(snapshot.info);
  expect((await Snapshot.list({ connection })).map(({ name }) => name)).toEqual(["before"]);
  expect(await snapshot.verify()).toEqual(snapshot.info);
  const [again] = await snapshot.restore({ name: "again", env: { B: "2" }, autoRemove: true });
  expect(again!.info).toMatchObject({ name: "again", spec: { autoRemove: true } });
  expect((await again!.shell("echo $A$B")).stdout).toBe("12\n");
  expect(await snapshot.restore({ count: 2 })).toHaveLength(2);
  await snapshot.remove();
  expect(await failure(Snapshot.get("before", { connection }))).toMatchObject({ code: "not_found" });
});

test("an exported snapshot is for its owner's eyes, and opens with its passphrase", async () => {
  const snapshot = await box.snapshot({ name: "secret" });
  const file = join(home.path, "secret.msb");
  await snapshot.export({ to: file, passphrase: "größe 8" });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, "utf8")).toMatch(/^größe 8\n/);
  expect(await text(await snapshot.export())).toMatch(/^\n\{/);
  await snapshot.remove();
  const wrong = Snapshot.import(file, { passphrase: "other", connection });
  expect(await failure(wrong)).toMatchObject({ code: "unauthenticated" });
  const back = await Snapshot.import(file, { passphrase: "größe 8", name: "back", connection });
  expect(back).toMatchObject({ name: "back", info: { sandbox: { name: "box" } } });
  for (const passphrase of ["", "x".repeat(1025)])
    expect(await failure(back.export({ passphrase }))).toMatchObject({ code: "invalid_argument" });
});

test("an image is prepared once, and again when it is not the same any more", async () => {
  const flag = join(home.path, "ready");
  const run = `echo warming; sleep 0.05; echo x >> ${flag}; exec sleep 1000`;
  const options = {
    as: "warm",
    image: "msb/base",
    memoryMiB: 512,
    run,
    ready: `test -e ${flag}`,
    connection,
  };
  const times = () => readFileSync(flag, "utf8").split("\n").length - 1;
  const first = await Snapshot.prepare(options);
  expect(first.info).toMatchObject({
    name: "warm",
    prepared: { image: "msb/base", run, ready: options.ready },
  });
  await using made = await Sandbox.create({ image: "warm", env: { B: "2" }, connection });
  expect(made.info.spec).toMatchObject({ memoryMiB: 512, env: { B: "2" } });

  expect((await Snapshot.prepare(options)).id).toBe(first.id);
  expect(times()).toBe(1);
  for (const change of [{ force: true }, { env: { A: "1" } }, { run: `${run} ` }]) {
    const before = (await Snapshot.get("warm", { connection })).id;
    expect((await Snapshot.prepare({ ...options, ...change })).id).not.toBe(before);
  }
  await Snapshot.prepare(options);
  const before = (await Snapshot.get("warm", { connection })).id;
  // It moves: its name is another image's now.
  await Image.import("msb/other", Readable.from(["another"]), { connection });
  await Image.tag("msb/other", "msb/base", { connection });
  expect((await Snapshot.prepare(options)).id).not.toBe(before);
  const last = (await Snapshot.get("warm", { connection })).id;
  expect(await failure(Snapshot.prepare({ ...options, run: "exit 1", ready: "false" }))).toMatchObject({
    code: "invalid_argument",
  });
  expect((await Snapshot.get("warm", { connection })).id).toBe(last);
  // One that cannot be stored: somebody may write to its volume.
  const volume = { type: "volume" as const, name: "shared", target: "/shared", readOnly: false };
  const unstorable = Snapshot.prepare({ ...options, mounts: [volume] });
  expect(await failure(unstorable)).toMatchObject({ code: "invalid_state" });
  expect((await Snapshot.get("warm", { connection })).id).toBe(last);
  // What they were made in is gone.
  expect((await Sandbox.list({ connection })).filter(({ name }) => name.startsWith("prepare-"))).toEqual([]);
});

test("on top of a prepared image it is prepared once, and again when that one is another", async () => {
  const base = { as: "below", image: "msb/base", run: "true", connection };
  const options = { as: "above", image: "below", run: "true", connection };
  await Snapshot.prepare(base);
  const first = await Snapshot.prepare(options);
  expect(first.info.prepared).toMatchObject({ image: "below" });
  expect((await Snapshot.prepare(options)).id).toBe(first.id);
  await Snapshot.prepare({ ...base, force: true });
  const second = await Snapshot.prepare(options);
  expect(second.id).not.toBe(first.id);
  expect((await Snapshot.prepare(options)).id).toBe(second.id);
});

test("without a way to ask, it is ready when its script has ended", async () => {
  const file = join(home.path, "installed");
  await Snapshot.prepare({
    as: "installed",
    image: "msb/base",
    run: `sleep 0.1; echo > ${file}`,
    connection,
  });
  expect(statSync(file).size).toBe(1);
});

test("what cannot be prepared says why, and leaves nothing", async () => {
  const options = { as: "never", image: "msb/base", connection };
  const broken = failure(
    Snapshot.prepare({ ...options, run: "echo cannot find it >&2; exit 3", ready: "false" }),
  );
  expect(await broken).toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(/its script ended with 3:\ncannot find it$/),
    details: { scriptExitCode: 3 },
  });
  const late = failure(
    Snapshot.prepare({ ...options, run: "sleep 1000", ready: "echo not yet; false", readyTimeoutMs: 200 }),
  );
  expect(await late).toMatchObject({
    code: "timeout",
    message: expect.stringMatching(/not ready after 0.2 s: `echo not yet; false` ended with 1:\nnot yet$/),
  });
  const endless = failure(Snapshot.prepare({ ...options, run: "sleep 1000", readyTimeoutMs: 50 }));
  expect(await endless).toMatchObject({ code: "timeout", hint: expect.stringContaining("--ready") });
  const cancel = new AbortController();
  const cancelled = failure(
    Snapshot.prepare({ ...options, run: "sleep 1000", ready: "false", signal: cancel.signal }),
  );
  await until(async () => (await Sandbox.list({ connection })).some(({ name }) => name === "prepare-never"));
  cancel.abort();
  expect(await cancelled).toMatchObject({ code: "cancelled" });
  expect(await failure(Snapshot.get("never", { connection }))).toMatchObject({ code: "not_found" });
  expect((await Sandbox.list({ connection })).map(({ name }) => name)).not.toContain("prepare-never");
});

test("a snapshot that is no prepared image is not replaced by one", async () => {
  await box.snapshot({ name: "mine" });
  const taken = failure(Snapshot.prepare({ as: "mine", image: "msb/base", run: "true", connection }));
  expect(await taken).toMatchObject({ code: "already_exists" });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
