import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFrame, type Frame, FrameType, MAX_CHANNEL, MAX_PAYLOAD, type StreamId } from "./frame.ts";
import { FrameDecoder } from "./frame-decoder.ts";

const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    channel: fc.integer({ min: 0, max: MAX_CHANNEL }),
    type: fc.constant(FrameType.control),
    stream: fc.constant<StreamId>(0),
    payload: bytes(0, 300),
  }),
  fc.record({
    channel: fc.integer({ min: 0, max: MAX_CHANNEL }),
    type: fc.constant(FrameType.data),
    stream: fc.constantFrom<StreamId>(0, 1, 2),
    // On both sides of the length from which the encoder no longer copies.
    payload: fc.oneof(bytes(0, 40), bytes(2_040, 2_060)),
  }),
  fc.record({
    channel: fc.integer({ min: 0, max: MAX_CHANNEL }),
    type: fc.constant(FrameType.credit),
    stream: fc.constantFrom<StreamId>(0, 1, 2),
    payload: bytes(16, 16),
  }),
);

function bytes(minLength: number, maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
}

/** `stream` cut at the given sizes, over and over. */
function* cut(stream: Buffer, sizes: number[]): Generator<Buffer> {
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = sizes[i % sizes.length]!;
    yield stream.subarray(at, at + size);
    at += size;
  }
}

test("any chunking of a stream gives the frames that went in", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 12 }), sizes, (frames, sizes) => {
      const stream = Buffer.concat(frames.flatMap(encodeFrame));
      const decoder = new FrameDecoder();
      const read = [...cut(stream, sizes)].flatMap((chunk) => [...decoder.push(chunk)]);
      expect(read).toEqual(frames);
      expect(decoder.midFrame).toBe(false);
    }),
    { numRuns: 500 },
  );
});

test("the largest payload passes, whole and in pieces", () => {
  const payload = Buffer.alloc(MAX_PAYLOAD, 7);
  const stream = Buffer.concat(encodeFrame({ channel: 1, type: FrameType.data, stream: 1, payload }));
  for (const size of [stream.length, 65_536, MAX_PAYLOAD + 12]) {
    const decoder = new FrameDecoder();
    const read = [...cut(stream, [size])].flatMap((chunk) => [...decoder.push(chunk)]);
    expect(read).toHaveLength(1);
    expect(read[0]!.payload.equals(payload)).toBe(true);
  }
});

test("a payload that spans chunks does not change when the chunks' memory is used again", () => {
  const stream = Buffer.concat(
    encodeFrame({ channel: 1, type: FrameType.data, stream: 1, payload: Buffer.from("hello") }),
  );
  const decoder = new FrameDecoder();
  const first = Buffer.from(stream.subarray(0, 14));
  expect([...decoder.push(first)]).toEqual([]);
  first.fill(0);
  expect([...decoder.push(stream.subarray(14))][0]!.payload.toString()).toBe("hello");
});

test("a frame is kept back until its trailer was right", () => {
  const stream = Buffer.concat(
    encodeFrame({ channel: 1, type: FrameType.data, stream: 1, payload: Buffer.from("hello") }),
  );
  stream[stream.length - 1] = 0;
  const decoder = new FrameDecoder();
  expect([...decoder.push(stream.subarray(0, -1))]).toEqual([]);
  expect(() => [...decoder.push(stream.subarray(-1))]).toThrow("a frame does not end in its trailer");
});

test("a header's error says what was wrong", () => {
  const header = Buffer.concat(
    encodeFrame({ channel: 1, type: FrameType.data, stream: 1, payload: Buffer.alloc(3) }),
  );
  header.writeUInt32BE(MAX_PAYLOAD + 1, 0);
  expect(() => [...new FrameDecoder().push(header)]).toThrow("its check does not agree");
  header.writeUInt16BE(0x4d53 ^ 4 ^ 1 ^ 1 ^ 0x0201, 10);
  expect(() => [...new FrameDecoder().push(header)]).toThrow("a payload of 262145 bytes is above the bound");
});
