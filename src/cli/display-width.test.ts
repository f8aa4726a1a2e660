import { expect, test } from "vitest";
import { outputLine } from "./build-output.ts";
import { cut, displayWidth } from "./display-width.ts";
import { printable, printableLines } from "./terminal.ts";

test.each([
  ["plain ä 漢 🙂", "plain ä 漢 🙂"],
  ["\x1b[31mred\x07", "\\x1b[31mred\\x07"],
  ["a\nb\tc\r", "a\\x0ab\\x09c\\x0d"],
  ["\x9b2J\x7f", "\\x9b2J\\x7f"],
  ["\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"],
])("%j is printed as %j", (text, expected) => {
  expect(printable(text)).toBe(expected);
});

test("a message keeps its lines", () => {
  expect(printableLines("one\ntwo\x1b")).toBe("one\ntwo\\x1b");
});

test("width and cutting count columns", () => {
  expect(displayWidth("a漢⠋")).toBe(4);
  expect(cut("abc", 3)).toBe("abc");
  expect(cut("abcd", 3)).toBe("ab…");
  expect(cut("漢漢漢", 4)).toBe("漢…");
  expect(cut("abc", 0)).toBe("");
});

test.each([
  ["\x1b[1;32mok\x1b[0m\tdone", "ok\tdone"],
  ["10%\r50%\r100%\r", "100%"],
  ["\x1b]0;title\x07text", "text"],
  ["bell\x07 \x1b", "bell\\x07 \\x1b"],
])("the output line %j is shown as %j", (line, expected) => {
  expect(outputLine(line)).toBe(expected);
});
