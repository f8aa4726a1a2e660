import { expect, test } from "vitest";
import { parseLimits } from "./network-limit-flags.ts";

test("limits in words", () => {
  const words = [
    "bytes-out=10M",
    "bytes-in=512K",
    "packets-out=1000",
    "packets-in=20",
    "connections=9",
    "queries=5",
  ];
  expect(parseLimits(words, false)).toEqual({
    egressBytesPerSecond: 10 * 1024 ** 2,
    ingressBytesPerSecond: 512 * 1024,
    egressPacketsPerSecond: 1000,
    ingressPacketsPerSecond: 20,
    connections: 9,
    queriesPerSecond: 5,
  });
  expect(parseLimits(["bytes-out=none", "packets-in=10"], true)).toEqual({
    egressBytesPerSecond: null,
    ingressPacketsPerSecond: 10,
  });
});

test.each([
  ["speed=10M", "is no limit"],
  ["toString=1", "is no limit"],
  ["bytes-out", "is no limit"],
  ["bytes-out=", "is no limit"],
  ["bytes-out=1M=2M", "is no limit"],
  ["bytes-out=10", "needs a unit"],
  ["packets-out=10M", "is not a whole number"],
  ["packets-out=-1", "is not a whole number"],
  ["bytes-out=none", "asks for nothing"],
  ["connections=none", "cannot be lifted"],
])("%s is refused: it %s", (word, why) => {
  expect(() => parseLimits([word], false)).toThrow(why);
});

test("what is said twice is refused, and what must be there is not lifted", () => {
  expect(() => parseLimits(["queries=1", "queries=2"], true)).toThrow("a second limit for queries");
  expect(() => parseLimits(["queries=none"], true)).toThrow("cannot be lifted");
});
