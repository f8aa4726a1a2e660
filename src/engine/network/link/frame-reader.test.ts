import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameBatch } from "./frame-batch.ts";
import { FrameReader } from "./frame-reader.ts";

const frames = fc.array(fc.array(fc.uint8Array({ maxLength: 9_000 }), { minLength: 1, maxLength: 3 }), {
  maxLength: 20,
});

test("what one end batches, the other end reads, however the stream is cut", () => {
  fc.assert(
    fc.property(frames, fc.infiniteStream(fc.integer({ min: 1, max: 5_000 })), (sent, sizes) => {
      const batch = new FrameBatch();
      for (const parts of sent) batch.add(parts);
      const waiting = batch.bytes;
      const stream = Buffer.concat(batch.take());
      expect([stream.length, batch.bytes]).toEqual([waiting, 0]);
      const read: string[] = [];
      const reader = new FrameReader(27_000, (frame) => read.push(Buffer.from(frame).toString("hex")));
      for (let at = 0; at < stream.length; ) {
        const size = sizes.next().value!;
        reader.push(Uint8Array.from(stream.subarray(at, at + size)));
        at += size;
      }
      expect(read).toEqual(sent.map((parts) => Buffer.concat(parts).toString("hex")));
    }),
    { numRuns: 200 },
  );
});

test("a batch that was taken is not written to again", () => {
  const batch = new FrameBatch();
  const sent: number[] = [];
  const chunks: Uint8Array[] = [];
  for (let i = 0; i < 100; i++) {
    batch.add([Uint8Array.of(i), new Uint8Array(1_000).fill(i)]);
    sent.push(i);
    if (i % 7 === 0) chunks.push(...batch.take());
  }
  chunks.push(...batch.take());
  const read: number[] = [];
  new FrameReader(1_001, (frame) => {
    expect(frame.every((byte) => byte === frame[0])).toBe(true);
    read.push(frame[0]!);
  }).push(Buffer.concat(chunks));
  expect(read).toEqual(sent);
});

test("a frame that is too long ends it, after those before", () => {
  for (const cuts of [[20], [7, 2, 11]]) {
    const stream = Uint8Array.from([0, 0, 0, 2, 1, 2, 0, 0, 0, 11, ...new Array(10).fill(0)]);
    const read: number[][] = [];
    const reader = new FrameReader(10, (frame) => read.push([...frame]));
    let at = 0;
    const push = () => {
      for (const cut of cuts) {
        reader.push(stream.subarray(at, at + cut));
        at += cut;
      }
    };
    expect(push).toThrow("a frame of 11 bytes on a link of 10");
    expect(read).toEqual([[1, 2]]);
  }
});
