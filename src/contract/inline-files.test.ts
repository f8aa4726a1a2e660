import { expect, test } from "vitest";
import { MAX_INLINE_BYTES } from "./inline-file-bounds.ts";
import { contentsOf, inlineFiles, shownFiles } from "./inline-files.ts";

test("a file is text or bytes, with the mode of a file unless told otherwise", () => {
  const files = inlineFiles.parse([
    { path: "/etc/app.conf", text: "é" },
    { path: "/bin/x", base64: "AP8=", mode: 0o755, owner: "1000:1000" },
  ]);
  expect(files.map((file) => [...contentsOf(file)])).toEqual([
    [0xc3, 0xa9],
    [0, 255],
  ]);
  // What is told of them says nothing of what is in them.
  expect(shownFiles(files)).toEqual([
    { path: "/etc/app.conf", mode: 0o644, bytes: 2 },
    { path: "/bin/x", mode: 0o755, owner: "1000:1000", bytes: 2 },
  ]);
});

test.each([
  [[{ path: "relative", text: "" }], /absolute path/],
  [[{ path: "/", text: "" }], /absolute path/],
  [[{ path: "/a/../b", text: "" }], /'\.\.'/],
  [[{ path: "/a" }], /either text or base64/],
  [[{ path: "/a", text: "", base64: "" }], /either text or base64/],
  [[{ path: "/a", base64: "%" }], /base64/],
  [[{ path: "/a", text: "", mode: 0o10000 }], /4095/],
  [
    [
      { path: "/a", text: "" },
      { path: "/a", text: "" },
    ],
    /'\/a' is there twice/,
  ],
  [
    [
      { path: "/a", text: "x".repeat(MAX_INLINE_BYTES) },
      { path: "/b", text: "x" },
    ],
    /524289 bytes in all/,
  ],
  [Array.from({ length: 65 }, (_, i) => ({ path: `/${i}`, text: "" })), /at most 64/],
])("what is no list of files is refused: %#", (value, message) => {
  expect(inlineFiles.safeParse(value).error?.message).toMatch(message);
});
