import { expect, test } from "vitest";
import { parseEnd } from "./copy-end.ts";

test.each([
  ["box:/tmp/a", { where: "sandbox", sandbox: "box", path: "/tmp/a" }],
  ["box:tmp/a:b", { where: "sandbox", sandbox: "box", path: "/tmp/a:b" }],
  ["box:.", { where: "sandbox", sandbox: "box", path: "/." }],
  ["./a:b", { where: "here", path: "./a:b" }],
  ["/a:b", { where: "here", path: "/a:b" }],
  ["a", { where: "here", path: "a" }],
  ["-", { where: "stream" }],
])("%s", (text, end) => {
  expect(parseEnd(text)).toEqual(end);
});

test.each(["", "box:", ":/tmp"])("%j is refused", (text) => {
  expect(() => parseEnd(text)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
});
