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
