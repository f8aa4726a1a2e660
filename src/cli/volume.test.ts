import { afterAll, beforeAll, expect, test } from "vitest";
import { TestHome } from "../sdk/testing/test-home.ts";
import { Msb } from "./testing/msb.ts";

let home: TestHome;
const msb = (...args: string[]) => {
  const { child, finished } = new Msb(home.env, args);
  child.stdin.end();
  return finished;
};
beforeAll(() => {
  home = new TestHome();
});
afterAll(() => home[Symbol.asyncDispose]());

test("volumes are made, listed, shown and removed, and one that is in use is not", async () => {
  expect(await msb("volume", "create", "data", "--size", "8G")).toMatchObject({ code: 0, stdout: "data\n" });
  expect((await msb("volume", "create", "data")).stderr).toContain("already");
  expect((await msb("volume", "create", "small", "--size", "1G")).stderr).toContain("4096");
  expect((await msb("volume", "create", "../x")).code).toBe(1);
  await msb("create", "--name", "box", "-v", "data:/data:ro", "msb/base");
  expect((await msb("volume", "ls")).stdout).toMatch(/^data\s+8\.0 GiB\s.*box \(ro\)/m);
  const [shown] = JSON.parse((await msb("volume", "inspect", "data")).stdout);
  expect(shown).toMatchObject({ sizeMiB: 8192, users: [{ name: "box", state: "running", readOnly: true }] });
  expect((await msb("volume", "rm", "data")).stderr).toContain("in use");
  await msb("rm", "--force", "box");
  expect(await msb("volume", "rm", "data")).toMatchObject({ code: 0, stdout: "data\n" });
  expect((await msb("volume", "inspect", "data")).stderr).toContain("no volume");
});

test("prune asks, or is forced", async () => {
  await msb("volume", "create", "unused");
  expect((await msb("volume", "prune")).stderr).toContain("--force");
  expect((await msb("volume", "prune", "--force")).stdout).toMatch(/^unused\n/);
  expect(JSON.parse((await msb("volume", "ls", "--json")).stdout)).toEqual([]);
});
