import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { PoolSettingsFile } from "./settings.ts";

const folder = mkdtempSync(join(tmpdir(), "msb-pool-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("pool.json is read as it is now; without it half of the memory may be used and nothing is learned", () => {
  const path = join(folder, "pool.json");
  const file = new PoolSettingsFile(path);
  expect(file.get()).toMatchObject({ cpuShare: 0.5, learn: false });
  expect(file.get().memoryMiB).toBeGreaterThan(0);
  writeFileSync(path, '{"memoryMiB": 0, "learn": true}');
  expect(file.get()).toEqual({ memoryMiB: 0, cpuShare: 0.5, learn: true });
  for (const wrong of ['{"memoryMiB": -1}', '{"cpuShare": 2}', '{"memory": 1}', "["]) {
    writeFileSync(path, wrong);
    expect(() => file.get()).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  }
});
