import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sha256 } from "../image/index.ts";
import { workspace } from "../image/workspace.test-support.ts";
import { BuildCache } from "./build-cache.ts";

test("steps and mounts are kept, found again by another one, and cleared", async () => {
  await using ws = await workspace();
  const [one, two] = [sha256("1"), sha256("2")];
  const cache = new BuildCache(ws.path);
  expect([await cache.step("a"), await cache.mount("m"), await cache.layers()]).toEqual([undefined, [], []]);
  await cache.keepStep("a", one, "2026-01-01T00:00:00.000Z");
  await cache.keepMount("m", [one, two]);
  const again = new BuildCache(ws.path);
  expect(await again.step("a")).toMatchObject({ layer: one, created: "2026-01-01T00:00:00.000Z" });
  expect(await again.mount("m")).toEqual([one, two]);
  expect((await again.layers()).sort()).toEqual([one, one, two].sort());
  expect(await again.clear()).toBe(2);
  expect(await cache.layers()).toEqual([]);
});

test("the mounts that were not used for longest are forgotten when there are too many", async () => {
  await using ws = await workspace();
  const cache = new BuildCache(ws.path);
  for (let i = 0; i <= 200; i++) await cache.keepMount(`m${i}`, [sha256(String(i))]);
  const left = await cache.layers();
  expect(left).toHaveLength(181);
  expect(left).toContain(sha256("200"));
});

test("a file that is damaged counts as none", async () => {
  await using ws = await workspace();
  const cache = new BuildCache(ws.path);
  await cache.keepStep("a", sha256("1"), "x");
  await writeFile(join(ws.path, "steps", `${sha256("a").slice(7)}.json`), '{"layer":"sha256:no"}');
  expect(await cache.step("a")).toBeUndefined();
  expect(await cache.layers()).toEqual([]);
});
