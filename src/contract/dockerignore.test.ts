import { expect, test } from "vitest";
import { parseIgnoreFile } from "./dockerignore.ts";

/** Most of these are moby/patternmatcher's own table: pattern, path, whether the path is left out. */
test.each<[patterns: string, path: string, ignored: boolean]>([
  ["a", "a", true],
  ["a", "b", false],
  ["a", "ab", false],
  ["a", "a/b/c", true],
  ["a/b", "a", false],
  ["/a", "a", true],
  ["./a/", "a", true],
  ["a/../b", "b", true],
  ["../a", "a", false],
  [".", "a", false],
  ["", "a", false],
  ["*", "a/b", true],
  ["*.go", "a.go", true],
  ["*.go", "a/b.go", false],
  ["*/b.go", "a/b.go", true],
  ["*/*.go", "a/b.go", true],
  ["a*", "a/b", true],
  ["a*/b", "ab/b", true],
  ["a?c", "abc", true],
  ["a?c", "a/c", false],
  ["a?c", "aäc", true],
  ["a?c", "a🙂c", true],
  ["**", "a", true],
  ["**", "a/b/c", true],
  ["**/", "a", true],
  ["**/**", "a/b", true],
  ["a/**", "a", false],
  ["a/**", "a/b", true],
  ["a/**/", "a/b", true],
  ["**/file", "file", true],
  ["**/file", "a/b/file", true],
  ["**/file", "a/nofile", false],
  ["**/file", "file/below", true],
  ["**/a/b", "a/b", true],
  ["**/a/b", "a/c/b", false],
  ["**file", "nofile", true],
  ["**file", "a/nofile", true],
  ["**file*", "a/files", true],
  ["**file*", "nofiles", false],
  ["**/*.txt", "a.txt", true],
  ["**/*.txt", "a/b/c.txt", true],
  ["**/*.txt", "a/b/c.txtx", false],
  ["**/.foo", ".foo", true],
  ["**/.foo", "bar.foo", false],
  ["a**/*.txt", "abc/def.txt", true],
  ["a**/*.txt", "def.txt", false],
  ["a/**/*.txt", "a/b.txt", true],
  ["a/**/*.txt", "a/b/c/d.txt", true],
  ["a/**/b/**", "a/x/y/b/c", true],
  ["a/*/b", "a/x/y/b", false],
  ["a.|)$(}+{bc", "a.|)$(}+{bc", true],
  ["a[b-d]e", "ace", true],
  ["a[b-d]e", "aae", false],
  ["a[^b-d]e", "aze", true],
  ["a[^b-d]e", "ace", false],
  ["[!a]", "!", true],
  ["[\\]a]", "]", true],
  ["[\\-x]", "-", true],
  ["a\\*b", "a*b", true],
  ["a\\*b", "axb", false],
  ["a\\b/c", "ab/c", true],
  [" a ", "a", true],
  ["a\r\nb", "a", true],
  ["\uFEFFa", "a", true],
  ["# comment", "# comment", false],
  [" #a", "#a", true],
  // The last one decides.
  ["*.md\n!README.md", "README.md", false],
  ["*.md\n!README.md", "OTHER.md", true],
  ["!README.md\n*.md", "README.md", true],
  ["*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true],
  ["*.md\n!README*.md\nREADME-secret.md", "README-public.md", false],
  ["a\n!a/b", "a/b/c", false],
  ["a\n!a/b", "a/c", true],
  ["a\n! /a/b", "a/b", false],
  ["**\n!b", "b/c", false],
  ["*\n!a/b\na/b/c", "a/b/c/d", true],
])("%j on %j: %j", (patterns, path, ignored) => {
  expect(parseIgnoreFile(patterns).ignores(path)).toBe(ignored);
});

test.each<[patterns: string, folder: string, may: boolean]>([
  ["a", "a", false],
  ["a\n!a/b", "a", true],
  ["a\n!a/b", "a/b", false],
  ["a\n!a/b", "c", false],
  ["**\n!**/keep", "any/where", true],
  ["**\n!*/keep", "any", true],
  ["**\n!*/keep", "any/where", false],
  ["**\n!a/**", "a/b/c", true],
  ["**\n!a/**", "b", false],
  ["**\n!*.md", "docs", false],
])("%j: an exception below %j: %j", (patterns, folder, may) => {
  expect(parseIgnoreFile(patterns).mayContainException(folder)).toBe(may);
});

test.each([
  ["a\n!", 2, "'!' alone"],
  ["[a", 1, "not closed"],
  ["\n\n[]", 3, "wrong place"],
  ["[-x]", 1, "wrong place"],
  ["[x-]", 1, "wrong place"],
  ["a\\", 1, "backslash"],
  ["a".repeat(4097), 1, "4096 characters"],
  [`${"a\n".repeat(10_000)}a`, 10_001, "10000 patterns"],
])("%# is refused with its line", (text, line, words) => {
  expect(() => parseIgnoreFile(text, "Dockerfile.dockerignore")).toThrowError(
    expect.objectContaining({
      code: "invalid_argument",
      message: expect.stringContaining(words),
      details: { file: "Dockerfile.dockerignore", line },
    }),
  );
});

test("a text without end is refused", () => {
  expect(() => parseIgnoreFile("#".repeat(1024 * 1024 + 1))).toThrow("larger than");
});

test("a pattern made to be slow is not", () => {
  const rules = parseIgnoreFile(`${"**/a*".repeat(200)}/b`);
  const began = performance.now();
  expect(rules.ignores(`${"a/".repeat(2000)}c`)).toBe(false);
  expect(performance.now() - began).toBeLessThan(5000);
});
