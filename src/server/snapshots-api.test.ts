import { request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PASSPHRASE_HEADER, type SandboxInfo, type SnapshotInfo } from "../contract/index.ts";
import { TestServer } from "./testing/serve.ts";

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Sends it over the socket, as clients do. */
function send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const bytes = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise<{
    status: number | undefined;
    bytes: Buffer;
    json: () => ReturnType<typeof JSON.parse>;
  }>((resolve, reject) => {
    const outgoing = request(
      {
        socketPath: server.socketPath,
        path,
        method,
        headers: { "content-type": "application/json", ...headers },
      },
      async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        const bytes = Buffer.concat(chunks);
        resolve({ status: response.statusCode, bytes, json: () => JSON.parse(bytes.toString()) });
      },
    );
    outgoing.once("error", reject);
    outgoing.end(bytes);
  });
}

const create = (name: string, more = {}) =>
  send("POST", "/v1/sandboxes", { image: "msb/base", name, ...more });
const passphrase = (text: string) => ({ [PASSPHRASE_HEADER]: Buffer.from(text).toString("base64url") });

test("a sandbox is suspended, seen so, and goes on", async () => {
  await create("sleepy");
  expect((await send("POST", "/v1/sandboxes/sleepy/suspend")).json()).toMatchObject({ state: "suspended" });
  expect((await send("GET", "/v1/sandboxes?state=suspended")).json().sandboxes).toMatchObject([
    { name: "sleepy" },
  ]);
  expect((await send("POST", "/v1/sandboxes/sleepy/suspend")).status).toBe(409);
  expect((await send("POST", "/v1/sandboxes/sleepy/resume")).json()).toMatchObject({ state: "running" });
});

test("a fork gives as many sandboxes as were asked for", async () => {
  await create("parent");
  const one = await send("POST", "/v1/sandboxes/parent/fork", {});
  expect(one).toMatchObject({ status: 201 });
  expect(one.json().sandboxes).toMatchObject([{ state: "running", image: "msb/base" }]);
  const three = (await send("POST", "/v1/sandboxes/parent/fork", { count: 3, name: "child" })).json();
  expect(three.sandboxes.map(({ name }: { name: string }) => name)).toEqual([
    "child-1",
    "child-2",
    "child-3",
  ]);
});

test("a snapshot's way: create, list, get, verify, restore with changes, remove", async () => {
  await create("box", { env: { A: "1" }, labels: { team: "red" } });
  const made = await send("POST", "/v1/sandboxes/box/snapshots", { name: "first" });
  expect(made.status).toBe(201);
  expect(made.json()).toMatchObject({ name: "first", kind: "running", sandbox: { name: "box" } });
  expect((await send("POST", "/v1/sandboxes/box/snapshots", { name: "first" })).json().error.code).toBe(
    "already_exists",
  );
  expect((await send("GET", "/v1/snapshots")).json().snapshots).toMatchObject([{ name: "first" }]);
  expect((await send("GET", `/v1/snapshots/${made.json().id}`)).json()).toEqual(made.json());
  expect((await send("POST", "/v1/snapshots/first/verify")).json()).toEqual(made.json());
  const restored = await send("POST", "/v1/snapshots/first/restore", {
    name: "again",
    count: 2,
    changes: { env: { B: "2" }, autoRemove: true },
  });
  expect(restored.status).toBe(201);
  expect(restored.json().sandboxes).toMatchObject([
    { name: "again-1", spec: { env: { A: "1", B: "2" }, labels: { team: "red" }, autoRemove: true } },
    { name: "again-2" },
  ]);
  expect((await send("DELETE", "/v1/snapshots/first")).status).toBe(204);
  expect((await send("DELETE", "/v1/snapshots/first")).status).toBe(404);
});

test("volumes that are written to are refused, or copied when asked", async () => {
  await send("POST", "/v1/volumes", { name: "data" });
  await create("holder", { mounts: [{ type: "volume", name: "data", target: "/data" }] });
  expect((await send("POST", "/v1/sandboxes/holder/snapshots", {})).json().error.code).toBe("invalid_state");
  const copied = await send("POST", "/v1/sandboxes/holder/snapshots", { volumes: "copy" });
  expect(copied.json()).toMatchObject({ volumes: ["data"] });
});

test("an exported snapshot comes back under another name, with its passphrase only", async () => {
  await create("secret");
  await send("POST", "/v1/sandboxes/secret/snapshots", { name: "keep" });
  const file = await send("GET", "/v1/snapshots/keep/export", undefined, passphrase("größe 8"));
  expect(file.status).toBe(200);
  expect(file.bytes.toString()).toMatch(/^größe 8\n/);
  const wrong = await send("POST", "/v1/snapshots/import?name=there", file.bytes, passphrase("other"));
  expect(wrong.status).toBe(401);
  const back = await send("POST", "/v1/snapshots/import?name=there", file.bytes, passphrase("größe 8"));
  expect(back.json()).toMatchObject({ name: "there", sandbox: { name: "secret" } });
  const plain = await send("GET", "/v1/snapshots/there/export");
  expect((await send("POST", "/v1/snapshots/import", plain.bytes)).json().error.code).toBe("already_exists");
});

test.each([
  ["", "is empty"],
  ["!!!", "is not base64url"],
  ["_w", "is not UTF-8"],
  [Buffer.alloc(1025, "x").toString("base64url"), "1024 are allowed"],
])("a passphrase of %j is refused: it %s", async (value, message) => {
  const answer = await send("GET", "/v1/snapshots/x/export", undefined, { [PASSPHRASE_HEADER]: value });
  expect(answer.json().error).toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(message),
  });
});

test.each([
  ["POST", "/v1/sandboxes/nobody/snapshots", {}, "not_found"],
  ["POST", "/v1/sandboxes/nobody/fork", {}, "not_found"],
  ["POST", "/v1/sandboxes/box/fork", { count: 101 }, "invalid_argument"],
  ["POST", "/v1/sandboxes/box/snapshots", { name: "Not Good" }, "invalid_argument"],
  ["POST", "/v1/snapshots/nothing/restore", {}, "not_found"],
  ["POST", "/v1/snapshots/nothing/restore", { changes: { memoryMiB: 512 } }, "invalid_argument"],
  ["POST", "/v1/snapshots/nothing/verify", undefined, "not_found"],
  ["GET", "/v1/snapshots/nothing/export", undefined, "not_found"],
  ["POST", "/v1/snapshots/import?name=No", Buffer.from("x"), "invalid_argument"],
])("%s %s of %j fails with %s", async (method, path, body, code) => {
  expect((await send(method, path, body)).json().error.code).toBe(code);
});

test("a prepared snapshot is an image: what can differ does, what is fixed is named", async () => {
  await create("warm", { memoryMiB: 512, env: { A: "1" } });
  const prepared = { image: "msb/base", digest: "sha256:0", run: "true" };
  await send("POST", "/v1/sandboxes/warm/snapshots", { name: "ready", prepared });
  await send("POST", "/v1/sandboxes/warm/snapshots", { name: "plain" });
  const made = await send("POST", "/v1/sandboxes", {
    image: "ready",
    name: "of-it",
    env: { B: "2" },
    autoRemove: true,
  });
  expect(made.status).toBe(201);
  expect(made.json()).toMatchObject({
    name: "of-it",
    image: "msb/base",
    spec: { memoryMiB: 512, env: { A: "1", B: "2" }, autoRemove: true },
  });
  for (const [field, value] of Object.entries({
    cpus: 2,
    memoryMiB: 1024,
    shell: "/bin/bash",
    diskIops: 500,
    pull: "always",
  })) {
    const refused = await send("POST", "/v1/sandboxes", { image: "ready", [field]: value });
    expect(refused.json().error).toMatchObject({ code: "invalid_argument", details: { field } });
  }
  // A snapshot that was not made for it is no image, and one's id is no image's name.
  const [{ id }] = (await send("GET", "/v1/snapshots"))
    .json()
    .snapshots.filter(({ name }: SnapshotInfo) => name === "ready");
  expect((await send("POST", "/v1/sandboxes", { image: id })).json().error.code).toBe("not_found");
  expect((await send("POST", "/v1/sandboxes", { image: "plain" })).json().error.code).toBe("not_found");
});

test("a prepared image with a command runs it, or leaves nothing", async () => {
  const made = await send("POST", "/v1/sandboxes", {
    image: "ready",
    name: "works",
    command: ["sleep", "1000"],
  });
  expect(made.json()).toMatchObject({ name: "works", state: "running" });
  const failed = await send("POST", "/v1/sandboxes", {
    image: "ready",
    name: "fails",
    command: ["no-such-thing"],
  });
  expect(failed.json().error).toMatchObject({ code: "not_found", details: { exitCode: 127 } });
  expect((await send("GET", "/v1/sandboxes/fails")).status).toBe(404);
  const held = await send("POST", "/v1/sandboxes?held", { image: "ready", command: ["true"] });
  expect(held.json().error).toMatchObject({ code: "invalid_argument", details: { field: "copies" } });
});

test("a file that is imported may be larger than other bodies", async () => {
  const answer = await send("POST", "/v1/snapshots/import", Buffer.alloc(25 * 1024 * 1024, "x"));
  expect(answer.json().error.message).toBe("this is no exported snapshot");
});

test("a run in a prepared image has no command but the one that is given", async () => {
  const run = async (argv?: string[]) => {
    const client = await server.open("/v1/run", {
      type: "run",
      sandbox: { image: "ready" },
      exec: { ...(argv && { argv }) },
    } as never);
    await client.closed;
    return client;
  };
  expect((await run(["echo", "hello"])).text).toBe("hello\n");
  const [none] = (await run()).messages.filter(({ type }) => type === "error");
  expect(none).toMatchObject({
    error: { code: "invalid_argument", message: expect.stringContaining("no command") },
  });
  const left = (await send("GET", "/v1/sandboxes")).json().sandboxes;
  expect(left.filter(({ spec }: SandboxInfo) => spec.labels["msb.bound"])).toEqual([]);
});
