import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERROR_CODES, type ErrorBody, SandboxError } from "../contract/index.ts";
import { createApi } from "./api.ts";
import { openApiDocument } from "./document.ts";
import { errorAnswer, STATUS_OF_CODE } from "./status.ts";
import { openLocalEngine } from "./testing/local-engine.ts";

const logged: string[] = [];
const { signal } = new AbortController();
const context = {
  engine: openLocalEngine("/nowhere"),
  build: "test",
  startedAt: new Date(),
  leaving: signal,
  log: (message: string) => logged.push(message),
  leave() {},
};
const api = createApi(context);

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  api.request(path, {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });

async function errorOf(response: Response | Promise<Response>): Promise<ErrorBody & { status: number }> {
  const answer = await response;
  const { error } = (await answer.json()) as { error: ErrorBody };
  return { ...error, status: answer.status };
}

test("every code has a status of its kind", () => {
  for (const code of ERROR_CODES) {
    const { status, body } = errorAnswer(new SandboxError(code, "m", { hint: "h", details: { a: 1 } }));
    expect(status).toBe(STATUS_OF_CODE[code]);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(body.error).toEqual({ code, message: "m", hint: "h", details: { a: 1 } });
  }
});

test("an unknown failure is internal and does not tell of its cause", () => {
  const { status, body } = errorAnswer(new Error("boom", { cause: "/secret/path" }));
  expect(status).toBe(500);
  expect(JSON.stringify(body)).toBe('{"error":{"code":"internal","message":"boom"}}');
});

test("an unknown failure is logged, with the request it came from", async () => {
  const { list } = context.engine.templates;
  context.engine.templates.list = () => Promise.reject(new TypeError("a mistake of ours"));
  expect(await errorOf(send("GET", "/v1/templates"))).toMatchObject({ status: 500, code: "internal" });
  context.engine.templates.list = list;
  expect(logged.join()).toMatch(/GET \/v1\/templates: TypeError: a mistake of ours\n +at/);
});

test.each([
  [{}, "image", "is required"],
  [{ image: "msb/base", cpus: 0 }, "cpus", "must be at least 1"],
  [{ image: "msb/base", cpus: 1.5 }, "cpus", "must be a whole number"],
  [{ image: "msb/base", memoryMiB: 64 }, "memoryMiB", "must be at least 128"],
  [{ image: "msb/base", memoryMiB: "1G" }, "memoryMiB", "must be a number"],
  [{ image: "msb/base", memory: 256 }, "memory", "there is no such field"],
  [{ image: "msb/base", workdir: "tmp" }, "workdir", "must be an absolute path in the sandbox"],
  [{ image: "msb/base", command: ["a\0b"] }, "command[0]", "an argument must not contain a NUL byte"],
  [
    { image: "msb/base", env: { "A=B": "c" } },
    "env.A=B",
    "an environment variable's name has no '=' and no NUL byte",
  ],
  [{ image: "msb/base", env: { A: 1 } }, "env.A", "must be a string"],
])("a bad spec names the field: %j", async (spec, field, sentence) => {
  const error = await errorOf(send("POST", "/v1/sandboxes", spec));
  expect(error).toMatchObject({ status: 400, code: "invalid_argument" });
  expect(error.message).toBe(`body: \`${field}\`: ${sentence}`);
  expect(error.details).toMatchObject({ field, issues: [{ path: field, message: sentence }] });
});

test("a bad name says what a good one is", async () => {
  const error = await errorOf(send("POST", "/v1/sandboxes", { image: "msb/base", name: "Not Good" }));
  expect(error.message).toContain("`name`: a name has 1 to 63 lower-case letters");
});

test.each([
  ["POST", "/v1/sandboxes", "{not json", "invalid_argument"],
  ["GET", "/v1/nowhere", undefined, "not_found"],
  ["GET", "/v1/sandboxes/nobody", undefined, "not_found"],
  ["GET", "/v1/sandboxes?state=asleep", undefined, "invalid_argument"],
  ["GET", "/v1/sandboxes?label=novalue", undefined, "invalid_argument"],
  ["GET", "/v1/sandboxes/nobody/logs", undefined, "not_found"],
  ["GET", "/v1/events?since=soon", undefined, "invalid_argument"],
  ["DELETE", "/v1/templates/no%20key", undefined, "invalid_argument"],
])("%s %s fails with %s %s", async (method, path, body, code) => {
  expect(await errorOf(send(method, path, body))).toMatchObject({ code });
});

test("a body beyond the bound is refused", async () => {
  const error = await errorOf(
    send("POST", "/v1/sandboxes", { image: "x" }, { "content-length": String(25 * 1024 * 1024) }),
  );
  expect(error).toMatchObject({ code: "invalid_argument", status: 400 });
});

test("a sandbox's life", async () => {
  const created = await send("POST", "/v1/sandboxes", {
    image: "msb/base",
    name: "life",
    labels: { a: "b" },
  });
  expect(created.status).toBe(201);
  expect(await created.json()).toMatchObject({ name: "life", state: "running", spec: { cpus: 1 } });
  expect(await errorOf(send("POST", "/v1/sandboxes", { image: "msb/base", name: "life" }))).toMatchObject({
    status: 409,
    code: "already_exists",
  });
  const list = await send("GET", "/v1/sandboxes?state=running&state=stopped&label=a=b");
  expect(await list.json()).toMatchObject({ sandboxes: [{ name: "life" }] });
  expect(await errorOf(send("DELETE", "/v1/sandboxes/life"))).toMatchObject({ code: "invalid_state" });
  const stopped = await send("POST", "/v1/sandboxes/life/stop");
  expect(await stopped.json()).toMatchObject({ state: "stopped" });
  expect((await send("POST", "/v1/sandboxes/life/start")).status).toBe(200);
  expect((await send("DELETE", "/v1/sandboxes/life?force")).status).toBe(204);
  expect((await send("GET", "/v1/sandboxes/life")).status).toBe(404);
});

test("a collected exec returns both streams as bytes, and counts what is too much", async () => {
  await send("POST", "/v1/sandboxes", { image: "msb/base", name: "collect" });
  const script = "head -c 16777220 /dev/zero; cat >&2; exit 9";
  const response = await send("POST", "/v1/sandboxes/collect/exec", {
    argv: ["sh", "-c", script],
    stdinBase64: Buffer.from([0, 255, 10]).toString("base64"),
  });
  const result = (await response.json()) as Record<string, string>;
  expect(result).toMatchObject({ exitCode: 9, stdoutDropped: 4, stderrDropped: 0 });
  expect(Buffer.from(result.stdoutBase64!, "base64")).toHaveLength(16 * 1024 * 1024);
  expect(Buffer.from(result.stderrBase64!, "base64")).toEqual(Buffer.from([0, 255, 10]));
});

test("an exec that reads none of a large stdin still ends", async () => {
  await send("POST", "/v1/sandboxes", { image: "msb/base", name: "deaf" });
  const response = await send("POST", "/v1/sandboxes/deaf/exec", {
    argv: ["true"],
    stdin: "x".repeat(1024 * 1024),
  });
  expect(await response.json()).toMatchObject({ exitCode: 0 });
});

test("a slow answer tells of its progress to whom it may concern, and to nobody else", async () => {
  const spec = { image: "test/slow", name: "slow" };
  const plain = await send("POST", "/v1/sandboxes", spec);
  expect(plain.headers.get("content-type")).toContain("application/json");
  await send("DELETE", "/v1/sandboxes/slow?force=true");
  const told = await send("POST", "/v1/sandboxes", spec, { accept: "application/x-ndjson" });
  const lines = (await told.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { type: string });
  expect(lines.at(0)).toMatchObject({ type: "progress", progress: { task: "building the template" } });
  expect(lines.at(-1)).toMatchObject({ type: "result", result: { name: "slow" } });
  const fast = await send("POST", "/v1/sandboxes", { image: "msb/base" }, { accept: "application/x-ndjson" });
  expect(fast.status).toBe(201);
});

test("a failure before any progress has a status", async () => {
  const response = send("POST", "/v1/sandboxes", { image: "no/such" }, { accept: "application/x-ndjson" });
  expect(await errorOf(response)).toMatchObject({ status: 404, code: "not_found" });
});

test("spec/openapi.json is what the routes say; if not: npm run openapi", () => {
  const file = new URL("../../spec/openapi.json", import.meta.url);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(JSON.parse(JSON.stringify(openApiDocument(api))));
});

test("the document is served and names each operation once", async () => {
  const document = (await (await send("GET", "/v1/openapi.json")).json()) as {
    openapi: string;
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  expect(document.openapi).toBe("3.1.0");
  const ids = Object.values(document.paths).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  );
  expect(ids).toContain("run");
  expect(new Set(ids).size).toBe(ids.length);
});
