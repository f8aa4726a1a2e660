import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalName, canonicalPattern, nameMatches } from "./domain-name.ts";

test.each([
  ["Example.COM", "example.com"],
  ["example.com.", "example.com"],
  ["bücher.example", "xn--bcher-kva.example"],
  ["ｅｘａｍｐｌｅ.com", "example.com"],
  ["example。com", "example.com"],
  ["_dns.example.com", "_dns.example.com"],
  [`${"a".repeat(63)}.com`, `${"a".repeat(63)}.com`],
])("%s is %s", (text, name) => {
  expect(canonicalName(text)).toBe(name);
});

test.each([
  "",
  ".",
  "a..b",
  "a.b..",
  ".a",
  "-a.b",
  "a-.b",
  "a b",
  "a/b",
  "a:1",
  "a\0b",
  "a%2eb",
  "127.1",
  "1.2.3.4",
  "0x7f.1",
  "a.0x7f",
  "1",
  `${"a".repeat(64)}.com`,
  "xn--.com",
  "xn--a\u0308.com",
  `${"a.".repeat(127)}aa`,
  "x".repeat(5000),
  "[::1]",
  "a@b",
])("%j is no name", (text) => {
  expect(canonicalName(text)).toBeUndefined();
});

test("a star is for what is below, at any depth", () => {
  const pattern = canonicalPattern("*.Example.com.")!;
  expect(nameMatches("a.example.com", pattern)).toBe(true);
  expect(nameMatches("b.a.example.com", pattern)).toBe(true);
  expect(nameMatches("example.com", pattern)).toBe(false);
  expect(nameMatches("badexample.com", pattern)).toBe(false);
  expect(canonicalPattern("*")).toBeUndefined();
  expect(canonicalPattern("*.*.a")).toBeUndefined();
});

test("a canonical name is its own canonical name", () => {
  fc.assert(
    fc.property(fc.oneof(fc.domain(), fc.string({ unit: "grapheme" })), (text) => {
      const name = canonicalName(text);
      if (name !== undefined) expect(canonicalName(name)).toBe(name);
    }),
  );
});
