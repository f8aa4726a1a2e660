import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { EMPTY_CONFIG, parseOciConfig, toOciConfig } from "./config.ts";

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
      Shell: ["/bin/bash", "-c"],
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
    shell: ["/bin/bash", "-c"],
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

test("what is written in OCI's spelling reads back as it was", () => {
  const config = {
    ...EMPTY_CONFIG,
    cmd: ["sh"],
    labels: { b: "1", a: "2" },
    volumes: ["/b", "/a"],
    shell: ["/bin/sh", "-c"],
  };
  expect(parseOciConfig(toOciConfig(config))).toEqual({ ...config, volumes: ["/a", "/b"] });
  expect(toOciConfig(EMPTY_CONFIG)).toEqual({});
});
