import fc from "fast-check";
import { expect, test } from "vitest";
import { MAGIC, MAX_STALE, newNonce, SyncHunter, syncSequence } from "./sync.ts";

test("the sequence is found behind any stale bytes, in any chunking", () => {
  // Bytes of MAGIC are frequent among the stale ones, so that near misses are.
  const stale = fc
    .array(fc.constantFrom(...MAGIC, 0xff), { maxLength: 200 })
    .map((array) => Buffer.from(array));
  const nonce = fc.oneof(fc.constant(MAGIC), fc.constant(Buffer.alloc(16)), fc.constant(newNonce()));
  fc.assert(
    fc.property(stale, nonce, fc.integer({ min: 1, max: 60 }), (stale, nonce, size) => {
      fc.pre(Buffer.concat([stale, MAGIC, nonce]).indexOf(Buffer.concat([MAGIC, nonce])) === stale.length);
      const stream = Buffer.concat([stale, MAGIC, nonce, Buffer.from("rest")]);
      const hunter = new SyncHunter(nonce);
      for (let at = 0; at < stream.length; at += size) {
        const rest = hunter.push(stream.subarray(at, at + size));
        if (rest === undefined) continue;
        expect(Buffer.concat([rest, stream.subarray(at + size)]).toString()).toBe("rest");
        expect(hunter.skipped).toBe(stale.length);
        return;
      }
      expect.unreachable("it was not found");
    }),
    { numRuns: 1_000 },
  );
});

test("it gives up after 8 MiB of other bytes, in chunks of any size", () => {
  for (const size of [1_000, 65_536, MAX_STALE + 32]) {
    const hunter = new SyncHunter(newNonce());
    const chunk = Buffer.alloc(size, 1);
    let fed = 0;
    expect(() => {
      for (; fed <= MAX_STALE + 2 * size; fed += size) hunter.push(chunk);
    }).toThrow("no answer to the hello in 8 MiB of other bytes");
    expect(fed).toBeGreaterThan(MAX_STALE - size);
  }
});

test("8 MiB of other bytes pass", () => {
  const nonce = newNonce();
  const hunter = new SyncHunter(nonce);
  expect(hunter.push(Buffer.alloc(MAX_STALE, 1))).toBeUndefined();
  expect(hunter.push(syncSequence(nonce, false))).toHaveLength(0);
  expect(hunter.skipped).toBe(MAX_STALE);
});

test("the filler is longer than any frame", () => {
  expect(syncSequence(newNonce(), true)).toHaveLength(262_144 + 13 + 32);
});
