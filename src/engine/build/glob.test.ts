import fc from "fast-check";
import { expect, test } from "vitest";
import { isPattern, nameMatcher } from "./glob.ts";

/** The table of Go's path/filepath/match_test.go, for one name. */
test.each<[string, string, boolean]>([
  ["abc", "abc", true],
  ["*", "abc", true],
  ["*c", "abc", true],
  ["a*", "a", true],
  ["a*", "abc", true],
  ["a*b*c*d*e*", "axbxcxdxe", true],
  ["a*b?c*x", "abxbbxdbxebxczzx", true],
  ["a*b?c*x", "abxbbxdbxebxczzy", false],
  ["ab[c]", "abc", true],
  ["ab[b-d]", "abc", true],
  ["ab[e-g]", "abc", false],
  ["ab[^c]", "abc", false],
  ["ab[^b-d]", "abc", false],
  ["ab[^e-g]", "abc", true],
  ["a\\*b", "a*b", true],
  ["a\\*b", "ab", false],
  ["a?b", "a☺b", true],
  ["a[^a]b", "a☺b", true],
  ["a???b", "a☺b", false],
  ["a?b", "a😀b", true],
  ["a??b", "a😀b", false],
  ["[😀-😂]", "😁", true],
  ["[^a]", "😁", true],
  ["a*😀", "a😁😀", true],
  ["[a-ζ]*", "α", true],
  ["*[a-ζ]", "A", false],
  ["[\\]a]", "]", true],
  ["[\\-]", "-", true],
  ["[x\\-]", "x", true],
  ["[x\\-]", "-", true],
  ["[x\\-]", "z", false],
  ["[\\-x]", "x", true],
  ["*x", "xxx", true],
  ["*.txt", "a.txt.gz", false],
])("%s and %s", (pattern, name, expected) => {
  expect(nameMatcher(pattern)!(name)).toBe(expected);
});

test.each(["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\"])(
  "%s is malformed",
  (pattern) => {
    expect(nameMatcher(pattern)).toBeUndefined();
  },
);

test("any pattern ends with any name, and a plain one matches itself", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), fc.string({ maxLength: 200 }), (pattern, name) => {
      nameMatcher(pattern)?.(name);
      if (!isPattern(name) && name !== "") expect(nameMatcher(name)!(name)).toBe(true);
    }),
    { numRuns: 3000, seed: 1 },
  );
  expect(nameMatcher("*a".repeat(30))!(`${"a".repeat(2000)}b`)).toBe(false);
});
