import { expect, test } from "vitest";
import { type CopyEnd, nameOf, placementOf } from "./destination.ts";

const is = { f: "file", d: "folder", n: "nothing" } as const;
const end = (kind: keyof typeof is, path: string): CopyEnd => ({ is: is[kind], path });

test.each([
  ["a file to a name", end("f", "/x/a"), end("n", "/y/b"), "/y", "b"],
  ["a file to a name right here", end("f", "/x/a"), end("n", "b"), ".", "b"],
  ["a file to a name of the root", end("f", "/x/a"), end("n", "/b"), "/", "b"],
  ["a file over a file", end("f", "/x/a"), end("f", "/y/b"), "/y", "b"],
  ["a file into a folder", end("f", "/x/a"), end("d", "/y/"), "/y/", "a"],
  ["a folder to a name", end("d", "/x/a"), end("n", "/y/b"), "/y", "b"],
  ["a folder to a name with a slash", end("d", "/x/a"), end("n", "/y/b/"), "/y", "b"],
  ["what is in a folder to a name", end("d", "/x/a/."), end("n", "/y/b"), "/y", "b"],
  ["a folder into a folder", end("d", "/x/a/"), end("d", "/y"), "/y", "a"],
  ["what is in a folder into a folder", end("d", "/x/a/."), end("d", "/y"), "/y", undefined],
  ["what is right here into a folder", end("d", "."), end("d", "/y"), "/y", undefined],
  ["the root into a folder", end("d", "/"), end("d", "/y"), "/y", undefined],
])("%s", (_, source, destination, folder, name) => {
  expect(placementOf(source, destination)).toEqual({ folder, name });
});

test.each([
  ["a file to a folder that is not there", end("f", "/a"), end("n", "/b/"), "not_found"],
  ["a folder over a file", end("d", "/a"), end("f", "/b"), "invalid_argument"],
])("%s is an error", (_, source, destination, code) => {
  expect(() => placementOf(source, destination)).toThrow(expect.objectContaining({ code }));
});

test.each([
  ["/a/b", "b"],
  ["b/", "b"],
  ["/a/b/.", "b"],
  ["a//", "a"],
  ["/", undefined],
  ["..", undefined],
  ["x/..", undefined],
  [".", undefined],
])("the name of %s is %s", (path, name) => {
  expect(nameOf(path)).toBe(name);
});
