import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ByteString, toBytes } from "../../../tar/byte-string.ts";
import { buildTar, inChunks, type TestEntry } from "../../../tar/tar-builder.test-support.ts";
import { importRootfs, type RootDisk } from "../index.ts";
import { openDisk, workspace } from "../workspace.test-support.ts";

const TYPE_BITS: Record<string, number> = {
  "0": 0o100000,
  "2": 0o120000,
  "3": 0o020000,
  "4": 0o060000,
  "5": 0o040000,
  "6": 0o010000,
};

async function diskOf(
  entries: TestEntry[],
  check: (disk: RootDisk, folder: string) => unknown,
): Promise<void> {
  await using ws = await workspace();
  await importRootfs(ws.store, { stream: inChunks(buildTar(entries), 7777), name: "msb/test" });
  await check(await ws.store.rootDisk("msb/test"), ws.path);
}

/** erofs-utils' opinion, where it is installed; our own reader has looked at every byte before. */
function fsck(disk: RootDisk, folder: string): void {
  if (spawnSync("fsck.erofs", ["--help"]).error !== undefined) return;
  const image = join(folder, "image");
  const files = JSON.parse(readFileSync(join(disk.directory, "disk.json"), "utf8")).files as {
    file: string;
  }[];
  writeFileSync(image, "");
  for (const { file } of files.filter(({ file }) => file !== disk.descriptor)) {
    execFileSync("sh", ["-c", 'cat "$1" >> "$2"', "sh", join(disk.directory, file), image]);
  }
  const { status, stdout, stderr } = spawnSync("fsck.erofs", [image], { encoding: "utf8" });
  expect({ status, output: stdout + stderr }).toMatchObject({ status: 0 });
}

describe("random trees", () => {
  // Any byte but NUL and slash, up to the longest name that Linux has.
  const name: fc.Arbitrary<ByteString> = fc
    .oneof(
      { weight: 8, arbitrary: fc.string({ minLength: 1, maxLength: 12 }) },
      {
        weight: 3,
        arbitrary: fc
          .uint8Array({ minLength: 1, maxLength: 255 })
          .map((bytes) => Buffer.from(bytes).toString("latin1")),
      },
      { weight: 1, arbitrary: fc.constant("n".repeat(255)) },
    )
    .map((text) => Buffer.from(text, "latin1").toString("latin1").replace(/[\0/]/g, "x"))
    .filter((text) => text !== "." && text !== ".." && !text.startsWith(".wh."));

  const attributes = {
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 0xfffffffe }),
    gid: fc.integer({ min: 0, max: 0xfffffffe }),
    mtime: fc
      .tuple(fc.integer({ min: -(2 ** 33), max: 2 ** 34 }), fc.integer({ min: 0, max: 999_999_999 }))
      .map(([seconds, nanos]) => `${seconds}.${String(nanos).padStart(9, "0")}`),
    xattrs: fc.dictionary(
      fc.constantFrom(
        "user.a",
        "user.longer-name",
        "security.capability",
        "trusted.t",
        "system.posix_acl_access",
      ),
      fc.uint8Array({ maxLength: 90 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
      { maxKeys: 3 },
    ),
  };
  const size = fc.oneof(fc.constantFrom(0, 1, 4095, 4096, 4097, 8192), fc.integer({ min: 0, max: 20_000 }));
  const node = fc.oneof(
    fc.record({ typeflag: fc.constant("0"), size, fill: fc.integer({ min: 1, max: 255 }), ...attributes }),
    fc.record({ typeflag: fc.constant("5"), ...attributes }),
    fc.record({
      typeflag: fc.constant("2"),
      linkTarget: fc.oneof(
        name,
        fc.integer({ min: 1, max: 4095 }).map((length) => "t".repeat(length)),
      ),
      ...attributes,
    }),
    fc.record({
      typeflag: fc.constantFrom("3", "4"),
      device: fc.tuple(fc.integer({ min: 0, max: 4095 }), fc.integer({ min: 0, max: 2 ** 20 - 1 })),
      ...attributes,
    }),
    fc.record({ typeflag: fc.constant("6"), ...attributes }),
  );
  const tree = fc.array(fc.tuple(name, node, fc.nat(), fc.nat()), { maxLength: 60, size: "max" });

  test("come out as they went in", async () => {
    await fc.assert(
      fc.asyncProperty(tree, async (nodes) => {
        // Each node goes into one of the directories before it; every fifth gets a second name.
        const directories = [""];
        const expected = new Map<ByteString, { entry: TestEntry; group: number }>();
        const entries: TestEntry[] = [];
        for (const [i, [leaf, { size: bytes, fill, ...rest }, where, link]] of nodes
          .map(([leaf, node, where, link]) => [leaf, { size: 0, fill: 0, ...node }, where, link] as const)
          .entries()) {
          const parent = directories[where % directories.length]!;
          const path = parent === "" ? leaf : `${parent}/${leaf}`;
          if (expected.has(path) || path.length > 3000) continue;
          const entry: TestEntry = { path, ...rest, data: Buffer.alloc(bytes, fill) };
          entries.push(entry);
          expected.set(path, { entry, group: i });
          if (rest.typeflag === "5") directories.push(path);
          else if (link % 5 === 0) {
            const second = `hard-link-${i}`;
            entries.push({ path: second, typeflag: "1", linkTarget: path });
            expected.set(second, { entry, group: i });
          }
        }
        await diskOf(entries.length === 0 ? [{ path: "./", typeflag: "5" }] : entries, (disk, folder) => {
          using reader = openDisk(disk);
          const found = reader.walk();
          expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
          const groups = new Map<number, number>();
          for (const [path, { entry, group }] of expected) {
            const inode = found.get(path)!;
            const [seconds, nanos] = entry.mtime!.split(".");
            const expectedTime =
              seconds!.startsWith("-") && Number(nanos) > 0
                ? [Number(seconds) - 1, 1_000_000_000 - Number(nanos)]
                : [Number(seconds), Number(nanos)];
            expect(inode).toMatchObject({
              mode: TYPE_BITS[entry.typeflag!]! | (entry.typeflag === "2" ? 0o777 : entry.mode!),
              uid: entry.uid,
              gid: entry.gid,
              mtime: expectedTime,
            });
            expect(inode.xattrs).toEqual(entry.xattrs);
            if (entry.typeflag === "0") expect(reader.content(inode).equals(entry.data!)).toBe(true);
            if (entry.typeflag === "2") expect(reader.content(inode)).toEqual(toBytes(entry.linkTarget!));
            if (entry.device !== undefined) {
              const [major, minor] = [
                (inode.location >> 8) & 0xfff,
                (inode.location & 0xff) | ((inode.location >>> 12) & 0xfff00),
              ];
              expect([major, minor]).toEqual(entry.device);
            }
            expect(groups.get(group) ?? inode.nid, "hard links share an inode").toBe(inode.nid);
            groups.set(group, inode.nid);
          }
          expect(reader.inodeCount).toBe(groups.size + 2); // the image's root and the file system's
          for (const [path, { group, entry }] of expected) {
            if (entry.typeflag === "5") continue;
            const names = [...expected.values()].filter((other) => other.group === group).length;
            expect(found.get(path)!.links).toBe(names);
          }
          fsck(disk, folder);
        });
      }),
      { numRuns: 40, seed: 20_240_601 },
    );
  }, 60_000);
});

test("a directory of 10,000 names, some of them 255 bytes long", async () => {
  const names = Array.from({ length: 10_000 }, (_, i) =>
    i % 97 === 0 ? `${i}-`.padEnd(255, "x") : `file-${i}`,
  );
  await diskOf(
    names.map((name) => ({ path: `big/${name}`, data: Buffer.from(name) })),
    (disk, folder) => {
      using reader = openDisk(disk);
      const big = reader.at("big")!;
      expect(reader.names(big)).toHaveLength(10_002);
      // Every block is met: about 40 names fall into one.
      for (const name of names.filter((_, i) => i % 7 === 0))
        expect(reader.content(reader.lookup(big, name)!).toString()).toBe(name);
      expect(reader.lookup(big, "absent")).toBeUndefined();
      fsck(disk, folder);
    },
  );
}, 30_000);

test("paths as deep as Linux can name", async () => {
  const path = Array.from({ length: 2000 }, () => "d").join("/");
  await diskOf([{ path, data: Buffer.from("deep") }], (disk) => {
    using reader = openDisk(disk);
    expect(reader.content(reader.at(path)!).toString()).toBe("deep");
  });
});

test("a sparse file beyond 4 GiB takes what its data takes", async () => {
  const size = 5 * 2 ** 30 + 12_345;
  const pieces: [number, Buffer][] = [
    [4096 * 3, Buffer.alloc(4096, 1)],
    [4096 * 5 + 100, Buffer.alloc(5000, 2)],
    [2 ** 31 + 2 ** 30, Buffer.from(Uint8Array.from({ length: 7 * 2 ** 20 }, (_, i) => (i >> 12) % 251))], // several chunks
    [2 ** 32 + 7, Buffer.alloc(100_000, 3)],
    [size - 10, Buffer.alloc(10, 4)],
  ];
  const pax: [string, string][] = [
    ["GNU.sparse.major", "0"],
    ["GNU.sparse.minor", "1"],
    ["GNU.sparse.name", "disk.img"],
    ["GNU.sparse.size", String(size)],
    ["GNU.sparse.map", pieces.map(([offset, data]) => `${offset},${data.length}`).join(",")],
  ];
  const data = Buffer.concat(pieces.map(([, piece]) => piece));
  await diskOf([{ path: "GNUSparseFile.0/disk.img", data, pax }], async (disk, folder) => {
    using reader = openDisk(disk);
    const inode = reader.at("disk.img")!;
    expect(inode.size).toBe(size);
    for (const [offset, piece] of pieces) {
      const before = Math.min(offset, 1000);
      const after = Math.min(1000, size - offset - piece.length);
      const seen = reader.content(inode, offset - before, before + piece.length + after);
      expect(seen.subarray(before, before + piece.length).equals(piece)).toBe(true);
    }
    expect(reader.content(inode, 2 ** 31, 4096).equals(Buffer.alloc(4096))).toBe(true);
    expect(reader.content(inode, 4096 * 4, 4096 + 100).equals(Buffer.alloc(4096 + 100))).toBe(true);
    const { blocks } = await stat(join(disk.directory, "blob-000"));
    expect(blocks * 512).toBeLessThan(8 * 1024 * 1024);
    expect(disk.sizeBytes).toBeLessThan(64 * 2 ** 20);
    fsck(disk, folder);
  });
});

test("metadata of a sparse file grows with its data, not with its size", async () => {
  const size = 16 * 2 ** 40 - 4096;
  const pax: [string, string][] = [
    ["GNU.sparse.size", String(size)],
    ["GNU.sparse.map", `${size - 4},4`],
  ];
  await diskOf([{ path: "huge", data: Buffer.from("last"), pax }], async (disk) => {
    using reader = openDisk(disk);
    expect(reader.content(reader.at("huge")!, size - 8, 8).toString()).toBe("\0\0\0\0last");
    expect((await stat(join(disk.directory, "meta.erofs"))).size).toBeLessThan(32 * 1024);
  });
});

test("behind a file's end its last block holds zeros, not what was written before", async () => {
  const large = Array.from({ length: 3 }, (_, i) => ({
    path: `large-${i}`,
    data: Buffer.alloc(2 ** 20, 0xff),
  }));
  await diskOf([...large, { path: "small", data: Buffer.from("x") }], (disk) => {
    const blob = readFileSync(join(disk.directory, "blob-000"));
    expect(blob.subarray(3 * 2 ** 20).equals(Buffer.concat([Buffer.from("x"), Buffer.alloc(4095)]))).toBe(
      true,
    );
  });
});

test("attributes that mean nothing to the guest, or too much to its overlayfs, are left out", async () => {
  const xattrs = {
    "user.kept": "1",
    "user.": "2",
    "com.apple.quarantine": "3",
    "trusted.overlay.opaque": "y",
  };
  await diskOf([{ path: "a", xattrs }], (disk) => {
    using reader = openDisk(disk);
    expect(reader.at("a")!.xattrs).toEqual({ "user.kept": "1" });
  });
});

test("the same tree gives the same bytes", async () => {
  const entries: TestEntry[] = [
    { path: "a", data: Buffer.from("one"), xattrs: { "user.b": "2", "user.a": "1" } },
    { path: "b/c", data: Buffer.from("two") },
  ];
  const read = async (list: TestEntry[]) => {
    let bytes = Buffer.alloc(0) as Buffer;
    await diskOf(list, (disk) => {
      bytes = readFileSync(join(disk.directory, "meta.erofs"));
    });
    return bytes;
  };
  const first = await read(entries);
  expect(first.equals(await read(entries))).toBe(true);
  expect(first.equals(await read([entries[0]!]))).toBe(false);
});
