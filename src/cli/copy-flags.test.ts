import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestHome } from "../sdk/testing/test-home.ts";
import { parseCopy } from "./copy-flags.ts";
import { Msb } from "./testing/msb.ts";

let home: TestHome;
let folder: string;
const msb = (...args: string[]) => {
  const { child, finished } = new Msb(home.env, args);
  child.stdin.end();
  return finished;
};
beforeAll(() => {
  home = new TestHome();
  folder = mkdtempSync(join(tmpdir(), "msb-copy-flags-"));
  writeFileSync(join(folder, "a:b"), "text");
});
afterAll(async () => {
  await home[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

test("source and destination are parted at the last place where a path begins", () => {
  expect(parseCopy(`${folder}/a:b:/srv/c:d`)).toEqual({ from: `${folder}/a:b`, to: "/srv/c:d" });
  expect(parseCopy(`${folder}/.:/srv/`)).toEqual({ from: `${folder}/.`, to: "/srv/" });
  for (const text of ["", "a", "a:b", ":/a"]) expect(() => parseCopy(text)).toThrow("not of the form");
  expect(() => parseCopy(`${folder}/missing:/a`)).toThrow("there is no");
});

test("a copy that is refused leaves no sandbox", async () => {
  const early = await msb("create", "--name", "box", "--copy", `${folder}/missing:/a`, "msb/base");
  expect([early.code, early.stderr]).toEqual([1, expect.stringContaining("there is no")]);
  // The sandbox of these tests is no VM, and refuses all but the simplest questions on its files.
  const late = await msb("create", "--name", "box", "--copy", `${folder}:/a`, "msb/base");
  expect([late.code, late.stdout]).toEqual([1, ""]);
  expect(late.stderr).toContain("box cannot");
  const run = await msb("run", "--copy", `${folder}:/a`, "msb/base", "echo", "ran");
  expect([run.code, run.stdout]).toEqual([125, ""]);
  expect(run.stderr).toContain("cannot");
  const left = await msb("ls", "--quiet");
  expect([left.code, left.stdout]).toEqual([0, ""]);
});
