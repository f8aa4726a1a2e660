import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildTar, inChunks, type TestEntry } from "../../tar/tar-builder.test-support.ts";
import { type UnpackOptions, unpack } from "./unpack.ts";

let base: string;
let folder: string;
let outside: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "unpack-"));
  folder = join(base, "to");
  outside = join(base, "outside");
  mkdirSync(folder);
  mkdirSync(outside);
  writeFileSync(join(outside, "file"), "outside");
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const file = (path: string, text = "x", more: Partial<TestEntry> = {}): TestEntry => ({
  path,
  data: Buffer.from(text),
  ...more,
});
const directory = (path: string, mode = 0o755): TestEntry => ({ path, typeflag: "5", mode });
const symlink = (path: string, linkTarget: string): TestEntry => ({ path, typeflag: "2", linkTarget });
const link = (path: string, linkTarget: string): TestEntry => ({ path, typeflag: "1", linkTarget });

const take = (entries: TestEntry[], options: Partial<UnpackOptions> = {}) =>
  unpack(inChunks(buildTar(entries), 700), { folder, top: "src", name: "copy", owners: false, ...options });

describe("an archive of a sandbox", () => {
  test("becomes files, folders and links, with modes and times", async () => {
    const seen: number[] = [];
    const done = await take(
      [
        directory("src/", 0o500),
        file("src/a", "one", { mode: 0o4751, mtime: "1000000000.5" }),
        link("src/hard", "src/a"),
        symlink("src/soft", "/nowhere/at all"),
        { path: "src/device", typeflag: "3", device: [1, 3] },
        file("src/\xff\xfe", "bytes"),
      ],
      { onProgress: ({ bytes }) => seen.push(bytes) },
    );
    expect(done).toEqual({ entries: 6, bytes: 8, skipped: ['"src/device"'] });
    expect(seen.at(-1)).toBe(8);
    const copy = join(folder, "copy");
    expect(readdirSync(copy, "latin1").sort()).toEqual(["a", "hard", "soft", "\xff\xfe"]);
    expect(readFileSync(join(copy, "a"), "utf8")).toBe("one");
    expect(statSync(join(copy, "a")).mode & 0o7777).toBe(0o751);
    expect(statSync(join(copy, "a")).mtimeMs).toBe(1_000_000_000_500);
    expect(statSync(join(copy, "hard")).ino).toBe(statSync(join(copy, "a")).ino);
    expect(readlinkSync(join(copy, "soft"))).toBe("/nowhere/at all");
    expect(statSync(copy).mode & 0o7777).toBe(0o500);
  });

  test("keeps its holes", async () => {
    writeFileSync(join(base, "sparse"), "");
    execFileSync("sh", ["-c", "printf begin > sparse; truncate -s 8M sparse; printf end >> sparse"], {
      cwd: base,
    });
    const tar = execFileSync("tar", ["-C", base, "--format=posix", "--sparse", "-c", "sparse"], {
      maxBuffer: 1 << 26,
    });
    await unpack(inChunks(tar, 4_000), { folder, top: "sparse", name: "s", owners: false });
    const copy = join(folder, "s");
    expect(readFileSync(copy).equals(readFileSync(join(base, "sparse")))).toBe(true);
    expect(statSync(copy).blocks * 512).toBeLessThan(1 << 20);
  });

  test("adds to folders that are there, and replaces files without writing to them", async () => {
    mkdirSync(join(folder, "copy"), { mode: 0o711 });
    writeFileSync(join(folder, "copy/kept"), "kept");
    symlinkSync(join(outside, "file"), join(folder, "copy/a"));
    await take([directory("src", 0o755), file("src/a", "new")]);
    expect(readFileSync(join(folder, "copy/a"), "utf8")).toBe("new");
    expect(lstatSync(join(folder, "copy/a")).isFile()).toBe(true);
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("outside");
    expect(readFileSync(join(folder, "copy/kept"), "utf8")).toBe("kept");
    expect(statSync(join(folder, "copy")).mode & 0o777).toBe(0o711);
  });

  test.each<[string, TestEntry[]]>([
    ["goes up", [file("src/../../outside/file")]],
    ["goes up from its top", [file("../outside/file")]],
    ["is not the source's", [file("other/file")]],
    ["links up", [link("src/a", "src/../../outside/file")]],
    ["links to what is not the source's", [link("src/a", "outside/file")]],
    ["goes through a link that it made", [symlink("src/way", "../../outside"), file("src/way/file")]],
    [
      "links through a link that it made",
      [symlink("src/way", "../../outside"), link("src/a", "src/way/file")],
    ],
    [
      "makes a folder of a link",
      [symlink("src/way", "../../outside"), directory("src/way"), file("src/way/file")],
    ],
    [
      "makes a link of a folder that is used",
      [directory("src/d"), file("src/d/a"), symlink("src/d", "../../outside"), file("src/d/file")],
    ],
    ["is itself a link", [symlink("src", "../outside"), file("src/file")]],
    ["links to itself", [link("src/a", "src/a")]],
    ["has a zero in its name", [file("src/a", "x", { pax: [["path", "src/a\0b"]] })]],
    ["is too long", [file(`src/${"a/".repeat(2_100)}b`)]],
    ["is too deep", [file(`src/${"a/".repeat(1_500)}b`)]],
  ])("is refused if it %s", async (_, entries) => {
    await expect(take(entries)).rejects.toMatchObject({ code: "invalid_argument" });
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("outside");
    expect(readdirSync(outside)).toEqual(["file"]);
  });

  test("leaves no half of a file, and folders as they were meant", async () => {
    const tar = buildTar([directory("src", 0o711), file("src/a", "a".repeat(5_000))]);
    await expect(
      unpack(inChunks(tar.subarray(0, 3_000)), { folder, top: "src", name: "copy", owners: false }),
    ).rejects.toMatchObject({ code: "invalid_argument" });
    expect(readdirSync(join(folder, "copy"))).toEqual([]);
    expect(statSync(join(folder, "copy")).mode & 0o777).toBe(0o711);
  });

  test("can be any bytes, and nothing is touched outside", async () => {
    const good = buildTar([
      directory("src"),
      file("src/a"),
      symlink("src/l", "../../outside"),
      link("src/h", "src/a"),
      file("src/l/b"),
    ]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
        async (changes) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          await unpack(inChunks(bytes), { folder, top: "src", name: "copy", owners: false }).catch(
            (error) => {
              expect(error).toMatchObject({ code: expect.any(String), message: expect.any(String) });
            },
          );
          rmSync(join(folder, "copy"), { recursive: true, force: true });
        },
      ),
      { numRuns: 300 },
    );
    expect(readdirSync(base).sort()).toEqual(["outside", "to"]);
    expect(readdirSync(outside)).toEqual(["file"]);
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("outside");
  });
});

/** Makes of `d` a folder and a link out, as fast as it can: as a sandbox could that has the destination mounted. */
const SWAPPER = `
const fs = require("node:fs");
const [folder, outside] = process.argv.slice(1);
process.chdir(folder);
fs.symlinkSync(outside, "link");
process.stdout.write("ready");
for (;;) {
  try { fs.renameSync("copy", "real"); fs.renameSync("link", "copy"); fs.renameSync("copy", "link"); fs.renameSync("real", "copy"); }
  catch { fs.rmSync("real", { recursive: true, force: true }); } // a folder was made where it was missing
}`;

test.runIf(process.platform === "linux")(
  "whoever swaps folders and links while it is unpacked cannot lead it out",
  async () => {
    mkdirSync(join(folder, "copy/d"), { recursive: true });
    const swapper = spawn(process.execPath, ["-e", SWAPPER, folder, outside]);
    try {
      await new Promise((resolve) => swapper.stdout.once("data", resolve));
      const outcomes = new Set<string>();
      // At least for this long, and until it has gone both ways: it was a race.
      const [enough, deadline] = [Date.now() + 3_000, Date.now() + 25_000];
      while (Date.now() < enough || (outcomes.size < 2 && Date.now() < deadline)) {
        await take([
          directory("src/d"),
          file("src/d/file", "inside"),
          link("src/d/h", "src/d/file"),
          file("src/file", "inside"),
        ]).then(
          () => outcomes.add("done"),
          ({ code }) => outcomes.add(code),
        );
      }
      expect(outcomes).toContain("done");
      expect(outcomes.size).toBeGreaterThan(1);
      expect(readdirSync(outside)).toEqual(["file"]);
      expect(readFileSync(join(outside, "file"), "utf8")).toBe("outside");
    } finally {
      swapper.kill("SIGKILL");
      await new Promise((resolve) => swapper.once("close", resolve));
    }
    expect(existsSync(join(outside, "d"))).toBe(false);
  },
);
