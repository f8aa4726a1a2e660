import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { type CpioEntry, writeCpio } from "./cpio.ts";

const ENTRIES: CpioEntry[] = [
  { kind: "directory", path: "dev", mode: 0o755 },
  { kind: "character-device", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
  ...[0, 1, 2, 3, 4, 5].map(
    (size): CpioEntry => ({
      kind: "file",
      path: `f${"x".repeat(size)}`,
      mode: 0o755,
      content: Buffer.alloc(size, 97),
    }),
  ),
];

test("headers, names and contents are aligned to four bytes, whatever their lengths", () => {
  const archive = writeCpio(ENTRIES);
  expect(archive.length % 4).toBe(0);
  const names: string[] = [];
  let at = 0;
  while (names.at(-1) !== "TRAILER!!!") {
    const field = (i: number) =>
      Number.parseInt(archive.toString("latin1", at + 6 + i * 8, at + 14 + i * 8), 16);
    expect(archive.toString("latin1", at, at + 6)).toBe("070701");
    const nameEnd = at + 110 + field(11);
    names.push(archive.toString("latin1", at + 110, nameEnd - 1));
    const content = nameEnd + ((4 - (nameEnd % 4)) % 4);
    const contentEnd = content + field(6);
    expect(archive.toString("latin1", content, contentEnd)).toBe("a".repeat(field(6)));
    at = contentEnd + ((4 - (contentEnd % 4)) % 4);
  }
  expect(at).toBe(archive.length);
  expect(names).toEqual([...ENTRIES.map((entry) => entry.path), "TRAILER!!!"]);
});

const noCpio = spawnSync("cpio", ["--version"]).error !== undefined;

test.skipIf(noCpio)("cpio lists what was written", () => {
  const listed = execFileSync("cpio", ["-tv", "--quiet", "--numeric-uid-gid"], {
    input: writeCpio(ENTRIES),
  }).toString();
  expect(listed).toMatch(/^drwxr-xr-x {3}2 0 +0 .* dev$/m);
  expect(listed).toMatch(/^crw------- .* 5, +1 .* dev\/console$/m);
  expect(listed).toMatch(/^-rwxr-xr-x .* 5 .* fxxxxx$/m);
});
