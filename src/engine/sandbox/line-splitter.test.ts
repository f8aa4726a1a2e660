import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter } from "./line-splitter.ts";

test("lines come whole however the file was cut, also when memory is used again", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme" })), fc.integer({ min: 1, max: 9 }), (texts, step) => {
      const lines = texts.map((text) => text.replaceAll("\n", ""));
      const file = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      const splitter = new LineSplitter();
      const memory = Buffer.alloc(step);
      const found: string[] = [];
      for (let at = 0; at < file.length; at += step) {
        const length = file.copy(memory, 0, at, at + step);
        found.push(...splitter.push(memory.subarray(0, length)));
      }
      expect(found).toEqual(lines);
    }),
  );
});

test("a line without an end takes no more than its bound", () => {
  const splitter = new LineSplitter();
  for (let i = 0; i < 40; i++) expect(splitter.push(Buffer.alloc(2 ** 18, "x"))).toEqual([]);
  expect(splitter.push(Buffer.from("\nnext\n")).at(-1)).toBe("next");
});
