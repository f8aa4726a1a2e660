import { chmodSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inlineFilesOf, parseFile } from "./inline-file-flags.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "msb-file-flag-"));
  writeFileSync(join(folder, "data"), Buffer.from([0, 255]));
  chmodSync(join(folder, "data"), 0o600);
  writeFileSync(join(folder, "program"), "#!/bin/sh\n", { mode: 0o700 });
  writeFileSync(join(folder, "large"), "");
  truncateSync(join(folder, "large"), 2 * 1024 ** 2);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["/etc/app.conf=a=b\nc", { path: "/etc/app.conf", text: "a=b\nc" }],
  ["/empty=", { path: "/empty", text: "" }],
  ["/at=@@home", { path: "/at", text: "@home" }],
])("--file %j", (text, expected) => {
  expect(parseFile(text)).toEqual(expected);
});

test("takes what is in a file, and whether it can be executed", () => {
  expect(parseFile(`/x=@${join(folder, "data")}`)).toEqual({ path: "/x", base64: "AP8=", mode: 0o644 });
  expect(parseFile(`/x=@${join(folder, "program")}`)).toMatchObject({ mode: 0o755 });
});

test("are bounded together", () => {
  const half = "x".repeat(256 * 1024);
  expect(inlineFilesOf({ file: [`/a=${half}`, `/b=${half}`] })).toHaveLength(2);
  expect(() => inlineFilesOf({ file: [`/a=${half}`, `/b=${half}x`] })).toThrow(/524289 bytes in all/);
});

test.each([
  ["/path", "invalid_argument", "not of the form"],
  ["=text", "invalid_argument", "not of the form"],
  ["path=text", "invalid_argument", "not an absolute path"],
  ["/x=@FOLDER/missing", "not_found", "there is no file"],
  ["/x=@FOLDER", "invalid_argument", "is no file"],
  ["/x=@FOLDER/large", "invalid_argument", "2097152 bytes"],
])("--file %j is refused", (text, code, message) => {
  expect(() => parseFile(text.replace("FOLDER", folder))).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});
