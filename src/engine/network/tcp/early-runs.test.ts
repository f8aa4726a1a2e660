import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteQueue } from "./byte-queue.ts";
import { EarlyRuns } from "./early-runs.ts";
import { Meter } from "./limits.ts";
import { plus } from "./sequence.ts";

const START = 0xffffff80;

test("pieces in any order, doubled and overlapping, come out as what they are pieces of", () => {
  const whole = Uint8Array.from({ length: 400 }, (_, i) => i);
  const piece = fc.tuple(fc.integer({ min: 0, max: 399 }), fc.integer({ min: 1, max: 60 }));
  const run = fc.property(fc.array(piece, { maxLength: 80 }), (pieces) => {
    const meter = new Meter(1000);
    const runs = new EarlyRuns(meter);
    const queue = new ByteQueue(meter);
    let next = START;
    for (const [offset, length] of pieces) {
      runs.keep(plus(START, 1 + offset), whole.subarray(1 + offset, 1 + offset + length));
      expect(meter.bytes).toBeLessThanOrEqual(whole.length);
    }
    queue.append(whole.subarray(0, 1));
    next = runs.release(queue, plus(next, 1));
    expect(plus(START, queue.length)).toBe(next);
    if (queue.length > 0)
      expect(Buffer.compare(queue.peek(0, queue.length), whole.subarray(0, queue.length))).toBe(0);
    runs.clear();
    queue.clear();
    expect(meter.bytes).toBe(0);
  });
  fc.assert(run, { numRuns: 500 });
});

test("no more runs are kept than 16, and nothing when there is no room", () => {
  const meter = new Meter(20);
  const runs = new EarlyRuns(meter);
  for (let i = 0; i < 40; i++) runs.keep(10 * i, Uint8Array.of(i));
  expect(meter.bytes).toBe(16);
  runs.keep(1, Uint8Array.of(1, 2, 3, 4));
  expect(meter.bytes).toBe(20);
  runs.keep(5, Uint8Array.of(5));
  expect(meter.bytes).toBe(20);
});
