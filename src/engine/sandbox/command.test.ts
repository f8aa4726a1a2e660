import { describe, expect, test } from "vitest";
import { sandboxSpec } from "../../contract/index.ts";
import { EMPTY_CONFIG } from "../image/index.ts";
import { combineCommand, processSpec } from "./command.ts";

const image = {
  ...EMPTY_CONFIG,
  entrypoint: ["/entry"],
  cmd: ["default"],
  env: ["A=image", "B=image=2"],
  workdir: "/srv",
  user: "app",
};
const spec = (more: object = {}) => sandboxSpec.parse({ image: "msb/x", ...more });

describe("the command, as docker run combines it", () => {
  test.each([
    ["nothing given", {}, undefined, ["/entry", "default"]],
    ["arguments replace the image's command", {}, ["mine"], ["/entry", "mine"]],
    ["the spec's command does too", { command: ["mine"] }, undefined, ["/entry", "mine"]],
    ["an entrypoint does away with both", { entrypoint: ["/other"] }, undefined, ["/other"]],
    ["and takes arguments", { entrypoint: ["/other"] }, ["x"], ["/other", "x"]],
    ["an empty entrypoint leaves the arguments", { entrypoint: [] }, ["x"], ["x"]],
  ])("%s", (_, more, argv, expected) => {
    expect(combineCommand(spec(more), image, argv)).toEqual(expected);
  });

  test("none at all is an error that names the image", () => {
    expect(() => combineCommand(spec(), EMPTY_CONFIG)).toThrowError(
      expect.objectContaining({ code: "invalid_argument", message: expect.stringContaining("msb/x") }),
    );
  });
});

describe("a process", () => {
  const exec = (more: object = {}) => ({ argv: ["x"], env: {}, ...more });

  test("has the environment of image, spec and call, later ones first, and a PATH", () => {
    const { env } = processSpec(
      spec({ env: { B: "spec", C: "spec" } }),
      image,
      exec({ env: { C: "call" } }),
      false,
    );
    expect(env).toMatchObject({
      A: "image",
      B: "spec",
      C: "call",
      PATH: expect.stringContaining("/usr/bin"),
    });
    expect(processSpec(spec(), image, exec(), false).env?.B).toBe("image=2");
  });

  test("runs where and as whom the nearest says", () => {
    expect(processSpec(spec(), image, exec(), true)).toMatchObject({
      cwd: "/srv",
      user: "app",
      createCwd: true,
      stdin: true,
    });
    const nearer = processSpec(
      spec({ workdir: "/a", user: "b" }),
      image,
      exec({ workdir: "/c", user: "d" }),
      false,
    );
    expect(nearer).toMatchObject({ cwd: "/c", user: "d", createCwd: false });
  });
});
