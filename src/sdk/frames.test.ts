import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFrame, FrameDecoder, OPCODE, type Opcode } from "./frames.ts";

/** What a server would send: the same frame without its mask. */
function serverFrame(opcode: Opcode, payload: Uint8Array): Buffer {
  const frame = encodeFrame(opcode, payload);
  const extended = payload.length < 126 ? 0 : payload.length < 65536 ? 2 : 8;
  frame[1] = frame[1]! & 0x7f;
  return Buffer.concat([frame.subarray(0, 2 + extended), frame.subarray(2 + extended + 4)]);
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(125, 126, 65535, 65536).map((length) => new Uint8Array(length)),
);
const opcode = fc.constantFrom(...Object.values(OPCODE));

test("frames come out as they went in, however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(opcode, payload), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1 }),
      (frames, cuts) => {
        const stream = Buffer.concat(frames.map(([kind, bytes]) => serverFrame(kind, bytes)));
        const seen: [Opcode, string][] = [];
        const decoder = new FrameDecoder(1 << 20, (kind, bytes) => seen.push([kind, bytes.toString("hex")]));
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const step = cuts[turn % cuts.length]!;
          decoder.push(stream.subarray(at, at + step));
          at += step;
        }
        expect(seen).toEqual(frames.map(([kind, bytes]) => [kind, Buffer.from(bytes).toString("hex")]));
      },
    ),
    { numRuns: 60 },
  );
});

test.each([
  ["reserved bits", [0xc1, 0]],
  ["a fragment", [0x01, 0]],
  ["a continuation", [0x80, 0]],
  ["an unknown opcode", [0x83, 0]],
  ["a mask", [0x81, 0x80]],
  ["a huge length", [0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]],
  ["an absurd length", [0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]],
])("%s is refused before any memory is spent on it", (_what, bytes) => {
  const decoder = new FrameDecoder(1 << 20, () => {});
  expect(() => decoder.push(Buffer.from(bytes))).toThrow();
});

test("a frame of the client has a mask that leaves its payload as it is", () => {
  const frame = encodeFrame(OPCODE.binary, Uint8Array.of(0), Buffer.from("abc"));
  expect(frame).toEqual(Buffer.from([0x82, 0x84, 0, 0, 0, 0, 0, 97, 98, 99]));
});
