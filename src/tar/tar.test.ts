import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ByteReader } from "./byte-reader.ts";
import { decompress } from "./decompress.ts";
import { readTar, type TarEntry } from "./tar.ts";
import {
  buildTar,
  header,
  inChunks,
  paxRecord,
  type TestEntry,
  withChecksum,
} from "./tar-builder.test-support.ts";

interface Read extends Omit<TarEntry, "body"> {
  data: Buffer;
}

async function read(source: AsyncIterable<Uint8Array>): Promise<Read[]> {
  const reader = new ByteReader(source, 2 ** 40);
  const entries: Read[] = [];
  for await (const { body, ...entry } of readTar(reader)) {
    const pieces: Buffer[] = [];
    for await (const piece of body()) pieces.push(Buffer.from(piece));
    entries.push({ ...entry, data: Buffer.concat(pieces) });
  }
  await reader.drain();
  return entries;
}

const readBuffer = (data: Buffer, chunk?: number) => read(inChunks(data, chunk));

/** The file as it reads: stored bytes where they belong, zeros between. */
function content(entry: Read): Buffer {
  if (entry.sparse === undefined) return entry.data;
  const whole = Buffer.alloc(entry.size);
  let at = 0;
  for (const { offset, length } of entry.sparse) at += entry.data.copy(whole, offset, at, at + length);
  return whole;
}

describe("archives of GNU tar", () => {
  let folder = "";
  const long = `${"long-directory-name/".repeat(9)}and-a-file`;
  const sparse = Buffer.alloc(3_000_000);

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "msb-tar-"));
    const at = (name: string) => join(folder, name);
    writeFileSync(at("plain"), "plain\n");
    chmodSync(at("plain"), 0o4751);
    utimesSync(at("plain"), 1_700_000_000.25, 1_700_000_000.25);
    writeFileSync(at("empty"), "");
    linkSync(at("plain"), at("second-name"));
    symlinkSync("plain", at("symlink"));
    symlinkSync(`${"t".repeat(200)}`, at("long-symlink"));
    mkdirSync(join(folder, long, ".."), { recursive: true });
    writeFileSync(at(long), "long\n");
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from("caf\xe9", "latin1")]), "not UTF-8");
    execFileSync("mkfifo", [at("fifo")]);
    const fd = openSync(at("sparse"), "w");
    for (let i = 0; i < 30; i++) {
      const piece = Buffer.alloc(4096, i + 1);
      piece.copy(sparse, i * 98_304);
      writeSync(fd, piece, 0, piece.length, i * 98_304);
    }
    closeSync(fd);
    truncateSync(at("sparse"), sparse.length);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const tar = (...args: string[]) =>
    execFileSync("tar", ["-C", folder, "-cf", "-", "--numeric-owner", "--sort=name", ...args, "."], {
      maxBuffer: 2 ** 28,
    });

  for (const format of [
    ["--format=gnu"],
    ["--format=posix"],
    ["--format=gnu", "--sparse"],
    ["--format=posix", "--sparse", "--sparse-version=0.0"],
    ["--format=posix", "--sparse", "--sparse-version=0.1"],
    ["--format=posix", "--sparse", "--sparse-version=1.0"],
  ]) {
    test(`in ${format.join(" ")}`, async () => {
      const archive = tar(...format);
      const entries = await readBuffer(archive);
      const by = new Map(entries.map((entry) => [entry.path, entry]));
      expect(by.get("./")!.type).toBe("directory");
      const plain = [by.get("./plain")!, by.get("./second-name")!];
      const [first, second] = plain[0]!.type === "file" ? plain : plain.reverse();
      expect(first).toMatchObject({ type: "file", mode: 0o4751, size: 6, data: Buffer.from("plain\n") });
      expect(first!.mtime).toEqual(
        format[0] === "--format=posix" ? [1_700_000_000, 250_000_000] : [1_700_000_000, 0],
      );
      expect(second).toMatchObject({ type: "link", linkTarget: first!.path, size: 0 });
      expect(by.get("./symlink")).toMatchObject({ type: "symlink", linkTarget: "plain" });
      expect(by.get("./long-symlink")!.linkTarget).toBe("t".repeat(200));
      expect(by.get(`./${long}`)!.data.toString()).toBe("long\n");
      expect(by.get("./caf\xe9")!.data.toString()).toBe("not UTF-8");
      expect(by.get("./fifo")!.type).toBe("fifo");
      expect(by.get("./empty")).toMatchObject({ type: "file", size: 0 });
      const holes = by.get("./sparse")!;
      expect(holes.sparse !== undefined).toBe(format.includes("--sparse"));
      expect(content(holes).equals(sparse)).toBe(true);
      // The same in chunks that cut through every header.
      expect((await readBuffer(archive, 509)).length).toBe(entries.length);
    });
  }
});

test("ustar splits long paths over two fields", async () => {
  const block = header({ path: "name" }, 0);
  block.write("some/prefix", 345, "latin1");
  expect((await readBuffer(withChecksum(block)))[0]!.path).toBe("some/prefix/name");
});

test("numbers beyond their octal fields", async () => {
  const block = header({ path: "big" }, 0);
  block.writeUInt32BE(0x80000000, 108); // uid in base 256
  block.writeUInt32BE(3_000_000_000, 112);
  block.fill(0xff, 136, 148); // mtime: -1
  const [gnu] = await readBuffer(withChecksum(block));
  expect(gnu).toMatchObject({ uid: 3_000_000_000, mtime: [-1, 0] });
  const [pax] = await readBuffer(
    buildTar([{ path: "big", uid: 3_000_000_000, gid: 2 ** 21, mtime: "-1.5" }]),
  );
  expect(pax).toMatchObject({ uid: 3_000_000_000, gid: 2 ** 21, mtime: [-2, 500_000_000] });
});

test("times are exact to the nanosecond", async () => {
  for (const [text, time] of [
    ["1700000000.123456789", [1_700_000_000, 123_456_789]],
    ["1700000000.1234567891", [1_700_000_000, 123_456_789]],
    ["0.000000001", [0, 1]],
    ["-0.000000001", [-1, 999_999_999]],
    ["17179869184", [17_179_869_184, 0]],
  ] as const) {
    expect((await readBuffer(buildTar([{ path: "a", mtime: text }])))[0]!.mtime).toEqual(time);
  }
});

test("extended attributes in both spellings, with any bytes", async () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString("latin1");
  const [entry] = await readBuffer(
    buildTar([
      {
        path: "a",
        xattrs: { "security.capability": all, "user.empty": "", "user.a%3Db%2525": "x" },
        pax: [
          ["LIBARCHIVE.xattr.user.%c3%a4", Buffer.from(all, "latin1").toString("base64").replace(/=+$/, "")],
        ],
      },
    ]),
  );
  expect(Object.fromEntries(entry!.xattrs)).toEqual({
    "security.capability": all,
    "user.empty": "",
    "user.a=b%25": "x",
    "user.\xc3\xa4": all,
  });
});

test("a global header holds until the end, an entry's own goes before it", async () => {
  const global = paxRecord("uid", "7");
  const archive = Buffer.concat([
    header({ path: "g", typeflag: "g" }, global.length),
    Buffer.concat([global, Buffer.alloc(512 - global.length)]),
    buildTar([{ path: "a" }, { path: "b", pax: [["uid", "8"]] }, { path: "c" }]),
  ]);
  expect((await readBuffer(archive)).map(({ uid }) => uid)).toEqual([7, 8, 7]);
});

describe("what is no archive is refused, naming the place", () => {
  const good = buildTar([{ path: "first" }, { path: "second", data: Buffer.alloc(2000, 1) }]);
  const pax = (...records: [string, string][]): TestEntry[] => [
    { path: "the-entry", pax: records, data: Buffer.alloc(10) },
  ];
  const cases: [string, Buffer, RegExp][] = [
    ["text", Buffer.from("#!/bin/sh\n".repeat(100)), /header at byte 0/],
    ["a cut in the data", good.subarray(0, 2000), /ends in the middle/],
    ["a cut in a header", good.subarray(0, 700), /ends in the middle/],
    [
      "a wrong checksum",
      Buffer.concat([good.subarray(0, 520), Buffer.from("x"), good.subarray(521)]),
      /byte 512.*checksum/,
    ],
    ["a lone block of zeros", Buffer.concat([Buffer.alloc(512), good]), /lone block/],
    ["an unknown type", buildTar([{ path: "the-entry", typeflag: "M" }]), /"the-entry".*"M"/],
    [
      "a negative size",
      (() => {
        const block = header({ path: "the-entry" }, 0);
        block.fill(0xff, 124, 136);
        return withChecksum(block);
      })(),
      /"the-entry".*-1/,
    ],
    ["a size without end", buildTar(pax(["size", "99999999999999999"])), /size/],
    [
      "a long name that is too long",
      Buffer.concat([header({ path: "x", typeflag: "L" }, 2 ** 21)]),
      /too large/,
    ],
    [
      "a PAX record that lies",
      (() => {
        const data = Buffer.alloc(512);
        data.write("999 path=x\n");
        return Buffer.concat([header({ path: "x", typeflag: "x" }, 11), data, good]);
      })(),
      /PAX/,
    ],
    [
      "an extended header without an entry",
      (() => {
        const data = Buffer.alloc(512);
        data.write("9 path=x\n");
        return Buffer.concat([header({ path: "x", typeflag: "x" }, 9), data, Buffer.alloc(1024)]);
      })(),
      /after an extended header/,
    ],
    [
      "overlapping pieces",
      buildTar(pax(["GNU.sparse.size", "100"], ["GNU.sparse.map", "0,5,3,5"])),
      /"the-entry".*out of order/,
    ],
    [
      "pieces beyond the file",
      buildTar(pax(["GNU.sparse.size", "8"], ["GNU.sparse.map", "0,10"])),
      /leaves the file/,
    ],
    [
      "pieces without data",
      buildTar(pax(["GNU.sparse.size", "99"], ["GNU.sparse.map", "0,11"])),
      /does not fit/,
    ],
    [
      "a map of 10 million pieces",
      buildTar([
        {
          path: "the-entry",
          pax: [
            ["GNU.sparse.major", "1"],
            ["GNU.sparse.minor", "0"],
          ],
          data: Buffer.concat([Buffer.from("10000000\n"), Buffer.alloc(1015)]),
        },
      ]),
      /more than/,
    ],
    ["a time that is none", buildTar(pax(["mtime", "1e300"])), /time/],
  ];
  for (const [name, archive, message] of cases) {
    test(name, async () => {
      await expect(readBuffer(archive)).rejects.toMatchObject({ code: "invalid_argument", message });
    });
  }
});

describe("compression", () => {
  // Long runs of one byte become zstd's "RLE" blocks.
  const data = Buffer.concat([Buffer.alloc(100_000, "some text "), Buffer.alloc(700_000, 7)]);
  const archive = buildTar([{ path: "a", data }, { path: "b" }]);
  const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  const half = [archive.subarray(0, 100_000), archive.subarray(100_000)] as const;
  for (const [name, data] of [
    ["none", archive],
    ["gzip", gzipSync(archive)],
    ["gzip in two members", Buffer.concat([gzipSync(half[0]), gzipSync(half[1])])],
    ["zstd", zstdCompressSync(archive)],
    ["zstd with checksums", zstdCompressSync(archive, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })],
    [
      "zstd in frames, skippable ones between",
      Buffer.concat([skippable, zstdCompressSync(half[0]), skippable, zstdCompressSync(half[1]), skippable]),
    ],
  ] as const) {
    for (const chunk of [1_000_000, 13]) {
      test(`${name}, in chunks of ${chunk}`, async () => {
        expect((await read(decompress(inChunks(data, chunk)))).map(({ size }) => size)).toEqual([800_000, 0]);
      });
    }
    if (data === archive) continue;
    test(`${name}, cut off or damaged`, async () => {
      const bad = Buffer.from(data);
      bad.fill(0xff, bad.length >> 1, (bad.length >> 1) + 40);
      for (const broken of [data.subarray(0, data.length - 9), bad]) {
        await expect(read(decompress(inChunks(broken)))).rejects.toMatchObject({ code: "invalid_argument" });
      }
    });
  }

  test("others are named", async () => {
    const xz = Buffer.concat([Buffer.from([0xfd]), Buffer.from("7zXZ\0"), Buffer.alloc(20)]);
    await expect(read(decompress(inChunks(xz)))).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/xz/),
    });
    await expect(read(decompress(inChunks(Buffer.from("BZh91AY&SY"))))).rejects.toMatchObject({
      message: expect.stringMatching(/bzip2/),
    });
  });

  test("an error of the source comes out as it is", async () => {
    const broken = (async function* () {
      yield gzipSync(archive).subarray(0, 100);
      throw new Error("connection lost");
    })();
    await expect(read(decompress(broken))).rejects.toThrow("connection lost");
  });
});
