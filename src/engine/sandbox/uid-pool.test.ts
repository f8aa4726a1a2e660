import { expect, test } from "vitest";
import { UidPool } from "./uid-pool.ts";

test("gives each its own, the lowest free one, and none where there is no right to", () => {
  const pool = new UidPool(true);
  const [a, b] = [pool.acquire(), pool.acquire()];
  expect(b).toBe(a! + 1);
  pool.claim(b! + 1);
  expect(pool.acquire()).toBe(b! + 2);
  pool.release(a);
  expect(pool.acquire()).toBe(a);
  expect(new UidPool(false).acquire()).toBeUndefined();
});
