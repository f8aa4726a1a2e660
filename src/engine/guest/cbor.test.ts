import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { decodeCbor, encodeCbor, MAX_ELEMENTS } from "./cbor.ts";

test("exactly 65,536 elements pass, one more does not", () => {
  const most = encodeCbor(Array.from({ length: MAX_ELEMENTS - 1 }, () => 0));
  expect(decodeCbor(most)).toHaveLength(MAX_ELEMENTS - 1);
  const oneMore = encodeCbor(Array.from({ length: MAX_ELEMENTS }, () => 0));
  expect(() => decodeCbor(oneMore)).toThrow("more than 65536 elements");
});

test("elements are counted over all levels", () => {
  const inner = Array.from({ length: 1_000 }, () => 0);
  const value = Array.from({ length: 66 }, () => inner);
  expect(() => decodeCbor(encodeCbor(value))).toThrow("more than 65536 elements");
});

test("what was encoded is decoded the same", () => {
  const leaf = fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.integer(),
    fc.string({ unit: "binary" }),
    fc.uint8Array(),
    fc.boolean(),
    fc.constant(null),
  );
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 6, depthSize: "small" },
      leaf,
      fc.array(tie("value"), { maxLength: 5 }),
      fc.array(fc.tuple(fc.string(), tie("value")), { maxLength: 5 }).map((entries) => new Map(entries)),
    ),
  })).value;
  fc.assert(
    fc.property(value, (value) => {
      expect(decodeCbor(encodeCbor(value))).toEqual(normal(value));
    }),
  );
});

/** As the decoder gives it: safe integers as numbers. */
function normal(value: unknown): unknown {
  if (typeof value === "bigint") {
    const safe = value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;
    return safe ? Number(value) : value;
  }
  if (Array.isArray(value)) return value.map(normal);
  if (value instanceof Map) return new Map([...value].map(([k, v]) => [k, normal(v)]));
  return value;
}

test("random bytes are decoded or refused, never anything else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeCbor(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(SandboxError);
        expect((error as SandboxError).code).toBe("internal");
      }
    }),
    { numRuns: 5_000 },
  );
});

test("what is decoded keeps nothing of the payload's memory", () => {
  const payload = encodeCbor({ text: "abc", bytes: Buffer.from("abc") });
  const decoded = decodeCbor(payload) as Map<string, unknown>;
  payload.fill(0);
  expect(decoded.get("text")).toBe("abc");
  expect(Buffer.from(decoded.get("bytes") as Uint8Array).toString()).toBe("abc");
});
