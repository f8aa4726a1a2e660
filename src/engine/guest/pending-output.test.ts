import fc from "fast-check";
import { expect, test } from "vitest";
import { type OutputName, PendingOutput } from "./pending-output.ts";

test("each stream comes out in order and whole, its end last", () => {
  const step = fc.oneof(
    fc.record({
      stream: fc.constantFrom<OutputName>("stdout", "stderr"),
      length: fc.oneof(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 16_000, max: 17_000 }),
        fc.constant(65_536),
      ),
    }),
    fc.constant("take" as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pending = new PendingOutput();
      const sent = { stdout: 0, stderr: 0 };
      const got = { stdout: 0, stderr: 0 };
      const ended = { stdout: false, stderr: false };
      const take = () => {
        const next = pending.take();
        if (next === undefined) return false;
        const { stream, offset, chunk } = next;
        expect(offset).toBe(got[stream]);
        expect(ended[stream]).toBe(false);
        expect(chunk.equals(content(stream, offset, chunk.length))).toBe(true);
        got[stream] += chunk.length;
        ended[stream] = chunk.length === 0;
        return true;
      };
      for (const step of steps) {
        if (step === "take") {
          take();
          continue;
        }
        const { stream, length } = step;
        pending.add({ stream, offset: sent[stream], chunk: content(stream, sent[stream], length) });
        sent[stream] += length;
      }
      for (const stream of ["stdout", "stderr"] as const) {
        pending.add({ stream, offset: sent[stream], chunk: Buffer.alloc(0) });
      }
      while (take());
      expect(got).toEqual(sent);
      expect(ended).toEqual({ stdout: true, stderr: true });
      expect(pending.empty).toBe(true);
    }),
  );
});

const patterns = { stdout: pattern(31), stderr: pattern(37) };

function pattern(factor: number): Buffer {
  return Buffer.from(Array.from({ length: 256 }, (_, i) => (i * factor) & 255));
}

function content(stream: OutputName, offset: number, length: number): Buffer {
  const from = offset & 255;
  const times = Math.ceil((from + length) / 256);
  return Buffer.concat(Array.from({ length: times }, () => patterns[stream])).subarray(from, from + length);
}

test("a million chunks of one byte, in turn on both streams, come out in few large pieces", () => {
  const pending = new PendingOutput();
  const byte = Buffer.from("x");
  for (let i = 0; i < 500_000; i++) {
    pending.add({ stream: "stdout", offset: i, chunk: byte });
    pending.add({ stream: "stderr", offset: i, chunk: byte });
  }
  let pieces = 0;
  let length = 0;
  for (let next = pending.take(); next !== undefined; next = pending.take()) {
    pieces += 1;
    length += next.chunk.length;
  }
  expect(length).toBe(1_000_000);
  expect(pieces).toBeLessThan(10);
});

test("the stream whose oldest piece came first goes first", () => {
  const pending = new PendingOutput();
  pending.add({ stream: "stderr", offset: 0, chunk: Buffer.from("e") });
  pending.add({ stream: "stdout", offset: 0, chunk: Buffer.from("o") });
  expect(pending.take()?.stream).toBe("stderr");
  expect(pending.take()?.stream).toBe("stdout");
  expect(pending.take()).toBeUndefined();
});
