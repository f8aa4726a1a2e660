import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_DETACH_KEYS, DetachKeys, parseDetachKeys } from "./detach-keys.ts";

test.each([
  ["ctrl-p,ctrl-q", [0x10, 0x11]],
  ["ctrl-A,d", [1, 0x64]],
  ["ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", [0, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f]],
  ["~,.", [0x7e, 0x2e]],
  ["", []],
])("%j are the bytes %j", (text, bytes) => {
  expect([...parseDetachKeys(text)]).toEqual(bytes);
});

test.each(["ctrl-", "ctrl-1", "pq", "ü", ",", "ctrl-p,"])("%j are no keys", (text) => {
  expect(() => parseDetachKeys(text)).toThrowError(expect.objectContaining({ code: "invalid_argument" }));
});

test("the keys are found however the input is cut, and everything else arrives as it was", () => {
  const byte = fc.constantFrom(0x10, 0x11, 0x61, 0x62);
  const keys = fc.array(byte, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(keys, fc.array(fc.array(byte, { maxLength: 5 }), { maxLength: 8 }), (wanted, pieces) => {
      const filter = new DetachKeys(Buffer.from(wanted));
      const all = Buffer.from(pieces.flat());
      const at = all.indexOf(Buffer.from(wanted));
      let passed = Buffer.alloc(0);
      let detached = false;
      for (const piece of pieces) {
        const { data, detach } = filter.take(Buffer.from(piece));
        passed = Buffer.concat([passed, data]);
        if (detach) {
          detached = true;
          break;
        }
      }
      expect(detached).toBe(at >= 0);
      if (detached) expect(passed).toEqual(all.subarray(0, at));
      else {
        // Kept back is at most a beginning of the keys.
        expect(all.subarray(0, passed.length)).toEqual(passed);
        const held = all.subarray(passed.length);
        expect(held).toEqual(Buffer.from(wanted).subarray(0, held.length));
      }
    }),
    { numRuns: 2000 },
  );
});

test("without keys nothing leaves", () => {
  const filter = new DetachKeys(Buffer.alloc(0));
  expect(filter.take(DEFAULT_DETACH_KEYS)).toEqual({ data: DEFAULT_DETACH_KEYS, detach: false });
});
