import { expect, test } from "vitest";
import { TokenBucket } from "./token-bucket.ts";

test("a limit on bytes is held by whoever wants more", async () => {
  let now = 0;
  const bucket = new TokenBucket(1000, () => now);
  const signal = new AbortController();
  await bucket.take(100, signal.signal);
  expect(bucket.tryTake(1)).toBe(false);
  const waiting = bucket.take(50, signal.signal);
  now = 50;
  await waiting;
  expect(bucket.tryTake(1)).toBe(false);
  now = 10_000;
  expect(bucket.tryTake(100)).toBe(true);
  expect(bucket.tryTake(1)).toBe(false);
  const never = bucket.take(1, signal.signal);
  signal.abort();
  await never;
});

test("a limit is lifted, set and changed while somebody waits", async () => {
  const { signal } = new AbortController();
  const bucket = new TokenBucket(1, () => 0);
  await bucket.take(1_000_000, signal);
  const waiting = bucket.take(1_000_000, signal);
  expect(bucket.tryTake(1)).toBe(false);
  bucket.limit(undefined);
  await waiting;
  expect(bucket.take(1e12, signal)).toBeUndefined();
  expect([bucket.tryTake(1e12), bucket.tryTake(1)]).toEqual([true, true]);
  bucket.limit(1000);
  expect([bucket.tryTake(100), bucket.tryTake(1)]).toEqual([true, false]);
});
