import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sandbox } from "../sdk/index.ts";
import { TestHome } from "../sdk/testing/test-home.ts";
import { copiesOf, copyInto, parseCopy } from "./copy-flags.ts";
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
  expect(() => copiesOf({ copy: [`${folder}:/a`] }, ["sh"])).toThrow("before its files are there");
  expect(copiesOf({}, ["sh"])).toEqual([]);
});

test("copies are made in order; when one fails the sandbox goes and the error stays", async () => {
  const done: string[] = [];
  const sandbox = {
    files: {
      upload: async (from: string, to: string) => {
        done.push(`${from} ${to}`);
        if (to === "/full") throw new Error("no room");
      },
    },
    remove: async ({ force }: { force: boolean }) => {
      done.push(`removed ${force}`);
    },
  } as unknown as Sandbox;
  const { signal } = new AbortController();
  const copies = ["/a", "/full", "/b"].map((to) => ({ from: "x", to }));
  await copyInto(sandbox, copies.slice(0, 1), signal);
  expect(done.splice(0)).toEqual(["x /a"]);
  await expect(copyInto(sandbox, copies, signal)).rejects.toThrow("no room");
  expect(done).toEqual(["x /a", "x /full", "removed true"]);
});

test("a copy that is refused leaves no sandbox", async () => {
  const early = await msb("create", "--name", "box", "--copy", `${folder}/missing:/a`, "msb/base");
  expect([early.code, early.stderr]).toEqual([1, expect.stringContaining("there is no")]);
  // The sandbox of these tests is no VM, and refuses all but the simplest questions on its files.
  const late = await msb("create", "--name", "box", "--copy", `${folder}:/a`, "msb/base");
  expect([late.code, late.stdout]).toEqual([1, ""]);
  expect(late.stderr).toContain("box cannot");
  const left = await msb("ls", "--quiet");
  expect([left.code, left.stdout]).toEqual([0, ""]);
});
