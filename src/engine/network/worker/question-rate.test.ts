import { expect, test } from "vitest";
import { QuestionRate } from "./question-rate.ts";

test("a second's worth at once, and then so many per second", () => {
  let now = 0;
  const rate = new QuestionRate(10, () => now);
  const taken = (tries: number) => Array.from({ length: tries }, () => rate.take()).filter(Boolean).length;
  expect(taken(20)).toBe(10);
  now += 300;
  expect(taken(20)).toBe(3);
  now += 60_000;
  expect(taken(20)).toBe(10);
});
