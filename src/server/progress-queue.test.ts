import { expect, test } from "vitest";
import type { Progress } from "../contract/index.ts";
import { MAX_PENDING_OUTPUT, ProgressQueue } from "./progress-queue.ts";

function drained(queue: ProgressQueue): Progress[] {
  const all: Progress[] = [];
  for (let one = queue.shift(); one !== undefined; one = queue.shift()) all.push(one);
  return all;
}

const layer = (digest: string, bytes: number): Progress => ({
  task: "pulling",
  layer: { digest, phase: "downloading", bytes },
});

test("of a layer only the newest waits, and no other's is lost for it", () => {
  const queue = new ProgressQueue();
  for (let bytes = 0; bytes < 1000; bytes++) {
    queue.push(layer("a", bytes));
    queue.push(layer("b", bytes * 2));
    queue.push({ task: "pulling", fraction: bytes / 1000 });
  }
  expect(drained(queue)).toEqual([layer("a", 999), layer("b", 1998), { task: "pulling", fraction: 0.999 }]);
});

test("steps come in their order, each once, and not without end", () => {
  const queue = new ProgressQueue();
  queue.push({ task: "[1/2] FROM a" });
  queue.push({ task: "[2/2] RUN b" });
  queue.push({ task: "[2/2] RUN b", fraction: 0.5 });
  expect(drained(queue).map(({ task }) => task)).toEqual(["[1/2] FROM a", "[2/2] RUN b"]);
  for (let count = 0; count < 10_000; count++) queue.push({ task: `read ${count} MiB` });
  const left = drained(queue);
  expect(left).toHaveLength(32);
  expect(left.at(-1)).toEqual({ task: "read 9999 MiB" });
});

test("output is kept whole and in order among steps", () => {
  const queue = new ProgressQueue();
  queue.push({ task: "one" });
  for (const output of ["a", "b", "a"]) queue.push({ task: "one", output });
  queue.push({ task: "two" });
  queue.push({ task: "two", output: "c" });
  expect(drained(queue).map(({ task, output = "" }) => task + output)).toEqual([
    "one",
    "onea",
    "oneb",
    "onea",
    "two",
    "twoc",
  ]);
});

test("output beyond the bound is left out, and the gap is told where it is", () => {
  const queue = new ProgressQueue();
  const output = "x".repeat(10_000);
  for (let count = 0; count < 1000; count++) {
    queue.push({ task: "loud", output });
    queue.push({ task: `step ${count}` });
  }
  const kept: string[] = [];
  const gaps: string[] = [];
  for (const progress of drained(queue)) {
    if (progress.output === output) {
      expect(gaps).toEqual([]);
      kept.push(output);
    } else if (progress.output !== undefined) gaps.push(progress.output);
  }
  expect(kept.length).toBeGreaterThan(90);
  expect(kept.join("").length).toBeLessThanOrEqual(MAX_PENDING_OUTPUT);
  expect(gaps).toEqual([expect.stringContaining(`${(1000 - kept.length) * 10_000} characters`)]);
  queue.push({ task: "loud", output });
  expect(drained(queue)).toEqual([{ task: "loud", output }]);
});
