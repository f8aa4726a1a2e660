import { execFileSync } from "node:child_process";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { passphraseIn } from "./passphrase-file.ts";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-passphrase-"));
  path = join(folder, "passphrase");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("a pipe that gives it in pieces is read to its end", async () => {
  execFileSync("mkfifo", [path]);
  const passphrase = "it comes in many pieces ".repeat(40).trim();
  const [read] = await Promise.all([passphraseIn(path), writeInPieces(`${passphrase}\n`)]);
  expect(read).toBe(passphrase);
});

async function writeInPieces(text: string): Promise<void> {
  await using pipe = await open(path, "w");
  for (const piece of text) {
    await pipe.write(piece);
    await setImmediate();
  }
}

test("bytes that are no text are refused: replaced, any of them would be as good as another", async () => {
  await writeFile(path, Buffer.from([0x61, 0xff, 0x62]));
  await expect(passphraseIn(path)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(/passphrase.*not UTF-8/),
  });
});

test.each([
  ["abc\n", "abc"],
  ["abc\r\n", "abc"],
  ["abc\n\n", "abc\n"],
  ["\ufeffabc", "\ufeffabc"],
  [`${"x".repeat(1024)}\r\n`, "x".repeat(1024)],
])("%j holds %j", async (content, passphrase) => {
  await writeFile(path, content);
  expect(await passphraseIn(path)).toBe(passphrase);
});

test.each([
  ["text of a byte too many", "x".repeat(1025)],
  ["much more", "x".repeat(5000)],
  ["what is no text at its end", Buffer.concat([Buffer.alloc(1026, "x"), Buffer.from([0xff])])],
])("too long: %s", async (_, content: string | Buffer) => {
  await writeFile(path, content);
  await expect(passphraseIn(path)).rejects.toMatchObject({
    message: expect.stringContaining("longer than 1024 bytes"),
  });
});
