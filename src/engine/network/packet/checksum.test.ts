import fc from "fast-check";
import { expect, test } from "vitest";
import { checksumOf, onesSum } from "./checksum.ts";

/** RFC 1071 section 4.1, word by word. */
function plainly(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

test("the sum is that of RFC 1071, wherever in a buffer the bytes lie", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ minLength: 0xff00, maxLength: 0xffff, size: "max", min: 250 }),
  );
  const run = fc.property(bytes, fc.integer({ min: 0, max: 7 }), (content, offset) => {
    const buffer = new Uint8Array(content.length + offset);
    buffer.set(content, offset);
    expect(checksumOf(onesSum(buffer.subarray(offset)))).toBe(plainly(content));
  });
  fc.assert(run, { numRuns: 60 });
});

test("the example of RFC 1071", () => {
  expect(onesSum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(0xddf2);
});
