import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BUILD_REQUEST_HEADER, IMAGE_CONFIG_HEADER } from "../contract/index.ts";
import { eventually, TestServer } from "./testing/serve.ts";

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Sent {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

function open(path: string, { method = "GET", headers = {} }: Sent = {}): ClientRequest {
  return request({ socketPath: server.socketPath, path, method, headers });
}

/** Sends it over the socket, as clients do. `broken`: the answer ended before it was whole. */
async function send(path: string, options: Sent = {}) {
  const outgoing = open(path, options);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.once("error", reject);
    outgoing.end(options.body);
  });
  const chunks: Buffer[] = [];
  let broken = false;
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch {
    broken = true;
  }
  const bytes = Buffer.concat(chunks);
  const json = () => JSON.parse(bytes.toString());
  return { status: response.statusCode, type: response.headers["content-type"], bytes, broken, json };
}

const sendJson = (method: string, path: string, body: unknown, headers = {}) =>
  send(path, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64");

test("an image's way: import, inspect, tag, export, save, load, remove", async () => {
  const tar = Buffer.alloc(300_000, "tar");
  const headers = { [IMAGE_CONFIG_HEADER]: base64({ config: { User: "1000" } }) };
  const imported = await send("/v1/images/import?name=my/image", { method: "POST", headers, body: tar });
  expect(imported.status).toBe(201);
  expect((await send("/v1/images/inspect?name=my/image")).json()).toMatchObject({ config: { user: "1000" } });
  const tagged = await sendJson("POST", "/v1/images/tag", { source: "my/image", target: "my/other" });
  expect(tagged.json()).toMatchObject({ name: "my/other", digest: imported.json().digest });
  const exported = await send("/v1/images/export?name=my/other");
  expect(exported.type).toBe("application/x-tar");
  expect(exported.bytes.equals(tar)).toBe(true);
  const saved = await send("/v1/images/save?name=my/image&name=my/other&format=docker");
  expect(saved.json()).toMatchObject({
    format: "docker",
    images: [{ name: "my/image" }, { name: "my/other" }],
  });
  for (const name of ["my/image", "my/other"]) {
    expect((await send(`/v1/images?name=${name}`, { method: "DELETE" })).status).toBe(204);
  }
  const loaded = await send("/v1/images/load", { method: "POST", body: saved.bytes });
  expect(loaded.json()).toMatchObject({ images: [{ name: "my/image" }, { name: "my/other" }] });
});

test("a running sandbox's file system is a tar", async () => {
  await sendJson("POST", "/v1/sandboxes", { image: "msb/base", name: "out" });
  expect((await send("/v1/sandboxes/out/export")).bytes).toHaveLength(4096);
  expect((await send("/v1/sandboxes/nobody/export")).json().error.code).toBe("not_found");
});

test("pull tells of each layer; push goes back", async () => {
  const headers = { accept: "application/x-ndjson" };
  const pulled = await sendJson("POST", "/v1/images/pull", { reference: "registry.test/slow" }, headers);
  const lines = pulled.bytes
    .toString()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const seen = new Map<string, string[]>();
  for (const { progress } of lines.slice(0, -1)) {
    const phases = seen.get(progress.layer.digest) ?? [];
    if (phases.at(-1) !== progress.layer.phase) phases.push(progress.layer.phase);
    seen.set(progress.layer.digest, phases);
  }
  expect(seen.size).toBe(4);
  for (const phases of seen.values()) expect(["done", "exists"]).toContain(phases.at(-1));
  expect(lines.at(-1)).toMatchObject({ type: "result", result: { name: "registry.test/slow" } });
  const pushed = await sendJson("POST", "/v1/images/push", {
    name: "registry.test/slow",
    reference: "registry.test/copy",
  });
  expect(pushed.json()).toMatchObject({
    reference: "registry.test/copy:latest",
    digest: expect.stringMatching(/^sha256:/),
  });
});

test("a build takes its request from the header and its context from the body", async () => {
  const wrong = await send("/v1/images/build", {
    method: "POST",
    headers: { [BUILD_REQUEST_HEADER]: base64({ tag: "x" }) },
    body: "context",
  });
  expect(wrong.json().error).toMatchObject({
    code: "invalid_argument",
    message: "build request: `tag`: there is no such field",
  });
  const noJson = await send("/v1/images/build", {
    method: "POST",
    headers: { [BUILD_REQUEST_HEADER]: "!!!" },
    body: "context",
  });
  expect(noJson.json().error.message).toBe("the build request is not base64 of JSON");
  const large = await send("/v1/images/build", {
    method: "POST",
    headers: { [BUILD_REQUEST_HEADER]: base64("x".repeat(65_536)) },
    body: "context",
  });
  expect(large.json().error.message).toContain("65536 are allowed");
});

test("prune and usage", async () => {
  await sendJson("POST", "/v1/images/tag", { source: "msb/base", target: "prune/me" });
  expect((await sendJson("POST", "/v1/images/prune", { all: true, buildCache: true })).json()).toMatchObject({
    untagged: ["prune/me"],
    cacheEntries: 2,
  });
  expect((await send("/v1/images/usage")).json()).toMatchObject({ images: { count: expect.any(Number) } });
});

test("login and logout", async () => {
  const login = { registry: "registry.test", username: "ann", password: "secret" };
  expect((await sendJson("POST", "/v1/registries/login", login)).status).toBe(204);
  const wrong = await sendJson("POST", "/v1/registries/login", { ...login, password: "guess" });
  expect(wrong).toMatchObject({ status: 401 });
  expect(wrong.bytes.toString()).not.toContain("guess");
  const path = "/v1/registries/login?registry=registry.test";
  expect((await send(path, { method: "DELETE" })).status).toBe(204);
  expect((await send(path, { method: "DELETE" })).status).toBe(404);
});

test.each([
  ["/v1/images/save?name=no/such", "not_found"],
  ["/v1/images/save", "invalid_argument"],
  ["/v1/images/save?name=msb/base&format=zip", "invalid_argument"],
  ["/v1/images/export?name=no/such", "not_found"],
  ["/v1/images/inspect?name=no/such", "not_found"],
  [`/v1/images/inspect?name=${"x".repeat(513)}`, "invalid_argument"],
])("%s fails with %s before the first byte", async (path, code) => {
  expect((await send(path)).json().error.code).toBe(code);
});

test("a tar that breaks off does not look whole", async () => {
  const { status, broken, bytes } = await send("/v1/images/save?name=test/slow");
  expect({ status, broken }).toEqual({ status: 200, broken: true });
  expect(bytes.length).toBeLessThanOrEqual(100_000);
});

test("a body that is refused early does not keep its sender from reading why", async () => {
  const outgoing = open("/v1/images/import?name=x", {
    method: "POST",
    headers: { [IMAGE_CONFIG_HEADER]: "!!!" },
  });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.once("error", reject);
  });
  for (let count = 0; count < 100; count++) outgoing.write(Buffer.alloc(100_000));
  expect((await response).statusCode).toBe(400);
  outgoing.destroy();
});

test("an upload whose client goes away ends", async () => {
  const { images } = server.engine;
  const original = images.load;
  let failure: unknown;
  let received = 0;
  images.load = async (archive) => {
    try {
      for await (const chunk of archive) received += (chunk as Buffer).length;
    } catch (error) {
      failure = error;
    }
    return [];
  };
  const outgoing = open("/v1/images/load", { method: "POST" });
  outgoing.on("error", () => {});
  outgoing.write(Buffer.alloc(1000));
  await eventually("the first bytes", () => received > 0);
  outgoing.destroy();
  await eventually("the end of the load", () => failure !== undefined);
  expect(failure).toMatchObject({ code: "cancelled" });
  images.load = original;
});
