import { expect, test } from "vitest";
import { RecentUse } from "./recent-use.ts";

const shape = (image: string) => ({ image, cpus: 1, memoryMiB: 256, network: true });

test("what was asked for within ten minutes is worth keeping, two at most, the latest first", () => {
  const use = new RecentUse();
  for (let time = 0; time < 5; time++) use.note(shape("often"), time);
  use.note(shape("once"), 10_000);
  expect(use.wanted(20_000)).toEqual([
    { shape: shape("once"), count: 1 },
    { shape: shape("often"), count: 2 },
  ]);
  expect(use.wanted(600_003)).toEqual([
    { shape: shape("once"), count: 1 },
    { shape: shape("often"), count: 1 },
  ]);
  expect(use.wanted(610_000)).toEqual([]);
});

test("whoever asks for ever other images does not fill the memory", () => {
  const use = new RecentUse();
  for (let number = 0; number < 150; number++) use.note(shape(`image-${number}`), number);
  const kept = use.wanted(200);
  expect(kept).toHaveLength(100);
  expect(kept[0]!.shape.image).toBe("image-149");
});
