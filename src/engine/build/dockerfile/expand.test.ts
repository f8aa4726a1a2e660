// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is what is tested

import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../../contract/index.ts";
import { expand } from "./expand.ts";

const set: Record<string, string> = { A: "x", EMPTY: "", B: "$A" };
const put = (text: string, raw = false) =>
  expand({ text, at: { line: 3, column: 10 } }, { escapeChar: "\\", lookup: (name) => set[name], raw });

/** As moby/buildkit, frontend/dockerfile/shell/envVarTest. */
test.each([
  ["$A", "x"],
  ["${A}b", "xb"],
  ["$Ab", ""],
  ["$A-$A", "x-x"],
  ["$NONE", ""],
  ["${NONE:-d}", "d"],
  ["${EMPTY:-d}", "d"],
  ["${EMPTY-d}", ""],
  ["${NONE-d}", "d"],
  ["${A:-d}", "x"],
  ["${A:+d}", "d"],
  ["${EMPTY:+d}", ""],
  ["${EMPTY+d}", "d"],
  ["${NONE+d}", ""],
  ["${A:?e}", "x"],
  ["${NONE:-${A}}", "x"],
  ["${NONE:-a${NONE:-b}c}", "abc"],
  ["${NONE:-'}'}", "}"],
  ["'$A'", "$A"],
  ['"$A b"', "x b"],
  ["\"'$A'\"", "'x'"],
  ["'a'\"b\"c", "abc"],
  ["\\$A", "$A"],
  ['"\\$A"', "$A"],
  ['"\\a"', "\\a"],
  ["a\\ b", "a b"],
  ["$", "$"],
  ["a$", "a$"],
  ["$B", "$A"],
  ["$1", ""],
])("%s is %s", (text, expected) => {
  expect(put(text)).toBe(expected);
});

test("in the contents of files quotes stand for themselves", () => {
  expect(put(`'$A' "\\n" \\$A`, true)).toBe(`'x' "\\n" $A`);
});

test.each<[string, string, number]>([
  ["${A", "invalid_argument", 13],
  ["${NONE:?gone}", "invalid_argument", 17],
  ["${}", "invalid_argument", 10],
  ["'a", "invalid_argument", 10],
  ['"a', "invalid_argument", 12],
  ["${A#x}", "unsupported", 13],
  ["${A/x/y}", "unsupported", 13],
  ["${NONE:-".repeat(40), "invalid_argument", 0],
])("refused with its place: %s", (text, code, column) => {
  expect(() => put(text)).toThrow(
    expect.objectContaining({ code, ...(column > 0 ? { details: { line: 3, column } } : {}) }),
  );
});

test("it ends whatever the word is, and gives back words without signs as they are", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), fc.stringMatching(/^[a-z /.]{0,50}$/), (noise, plain) => {
      try {
        put(`$${noise}\${${noise}`);
      } catch (error) {
        expect(error).toBeInstanceOf(SandboxError);
      }
      expect(put(plain)).toBe(plain);
    }),
    { numRuns: 5000, seed: 6 },
  );
});
