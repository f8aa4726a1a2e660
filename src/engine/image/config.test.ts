import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { EMPTY_CONFIG, parseOciConfig } from "./config.ts";
import { decodeManifest, encodeManifest } from "./manifest.ts";

test("Docker's spelling of a full configuration", () => {
  expect(
    parseOciConfig({
      Hostname: "ignored",
      Entrypoint: ["/entry"],
      Cmd: ["python3"],
      Env: ["PATH=/bin", "EMPTY=", "A=b=c"],
      WorkingDir: "/app",
      User: "1000:1000",
      ExposedPorts: { "80/tcp": {}, "53/udp": {} },
      StopSignal: "SIGINT",
      Volumes: { "/data": {} },
      Labels: { a: "b" },
    }),
  ).toEqual({
    entrypoint: ["/entry"],
    cmd: ["python3"],
    env: ["PATH=/bin", "EMPTY=", "A=b=c"],
    workdir: "/app",
    user: "1000:1000",
    exposedPorts: ["53/udp", "80/tcp"],
    stopSignal: "SIGINT",
    volumes: ["/data"],
    labels: { a: "b" },
  });
});

test("null and missing mean empty", () => {
  expect(parseOciConfig({ Entrypoint: null, Env: null, Labels: null, WorkingDir: "", User: null })).toEqual(
    EMPTY_CONFIG,
  );
  expect(parseOciConfig(undefined)).toEqual(EMPTY_CONFIG);
});

test.each([
  [{ Env: ["NOVALUE"] }, "Env.0"],
  [{ Env: ["=x"] }, "Env.0"],
  [{ Cmd: "sh -c" }, "Cmd"],
  [{ StopSignal: "kill -9 1" }, "StopSignal"],
  [{ Labels: { a: 1 } }, "Labels.a"],
  [[], "it"],
])("%j is refused, naming %s", (json, field) => {
  expect(() => parseOciConfig(json)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  expect(() => parseOciConfig(json)).toThrow(`invalid: ${field}:`);
});

test("any JSON is a configuration or invalid_argument", () => {
  const field = fc.constantFrom(
    "Entrypoint",
    "Cmd",
    "Env",
    "WorkingDir",
    "User",
    "ExposedPorts",
    "Labels",
    "__proto__",
  );
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(field, fc.jsonValue())), (json) => {
      try {
        expect(Object.keys(parseOciConfig(json)).sort()).toEqual(Object.keys(EMPTY_CONFIG).sort());
      } catch (error) {
        if (!(error instanceof SandboxError) || error.code !== "invalid_argument") throw error;
      }
    }),
    { numRuns: 3000, seed: 1 },
  );
});

const layer = { digest: `sha256:${"a".repeat(64)}`, tarBytes: 1, blobBytes: 4096, entries: 1 } as const;

test("a manifest's digest does not depend on the order of keys, and holds it to its bytes", () => {
  const config = { ...EMPTY_CONFIG, labels: { b: "1", a: "2" } };
  const { digest, text } = encodeManifest({ format: 1, layers: [layer], config });
  const turned = Object.fromEntries(Object.entries(config).reverse()) as typeof config;
  expect(
    encodeManifest({ config: { ...turned, labels: { a: "2", b: "1" } }, layers: [layer], format: 1 }).digest,
  ).toBe(digest);
  expect(decodeManifest(text, digest).config).toEqual(config);
  expect(() => decodeManifest(text.replace('"2"', '"3"'), digest)).toThrow(
    expect.objectContaining({ code: "internal" }),
  );
  expect(() => encodeManifest({ format: 1, layers: [], config })).toThrow(
    expect.objectContaining({ code: "invalid_argument" }),
  );
});
