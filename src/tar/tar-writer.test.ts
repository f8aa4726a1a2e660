import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteReader } from "./byte-reader.ts";
import { readTar } from "./tar.ts";
import { inChunks } from "./tar-builder.test-support.ts";
import { TAR_END, type TarHeader, tarHeader, tarPadding } from "./tar-writer.ts";

const plain = { type: "file", path: "a", mode: 0o644, uid: 0, gid: 0, mtime: [0, 0] } satisfies TarHeader;

function archive(entries: [TarHeader, (Buffer | undefined)?][]): Buffer {
  return Buffer.concat([
    ...entries.flatMap(([header, data = Buffer.alloc(0)]) => [
      tarHeader(header),
      data,
      tarPadding(data.length),
    ]),
    TAR_END,
  ]);
}

async function readBack(tar: Buffer) {
  const found = [];
  for await (const entry of readTar(new ByteReader(inChunks(tar), tar.length))) {
    const data = Buffer.concat((await Array.fromAsync(entry.body())).map((piece) => Buffer.from(piece)));
    found.push({ ...entry, data });
  }
  return found;
}

test("what is written reads back as it was, whatever it is", async () => {
  const bytes = (maxLength: number) =>
    fc
      .uint8Array({ minLength: 1, maxLength })
      .map((value) => Buffer.from(value).toString("latin1").replaceAll("\0", "x"));
  const name = bytes(300).map((path) => path.replaceAll("/", "_"));
  const u32 = fc.oneof(fc.nat(5000), fc.integer({ min: 0, max: 0xffff_fffe }));
  const header = fc
    .record({
      type: fc.constantFrom("file", "directory", "symlink", "link", "char", "block", "fifo"),
      path: name,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: u32,
      gid: u32,
      mtime: fc.tuple(
        fc.integer({ min: -(2 ** 33), max: 2 ** 36 }),
        fc.integer({ min: 0, max: 999_999_999 }),
      ),
      target: bytes(300),
      device: fc.tuple(fc.integer({ min: 0, max: 4095 }), fc.integer({ min: 0, max: 1_048_575 })),
      xattrs: fc.dictionary(
        bytes(20).map((key) => `user.${key}`),
        bytes(100),
        { maxKeys: 3 },
      ),
      data: fc.uint8Array({ maxLength: 2000 }).map((value) => Buffer.from(value)),
    })
    .map(({ type, target, device, data, ...common }): [TarHeader, (Buffer | undefined)?] => [
      {
        ...common,
        type: type as TarHeader["type"],
        linkTarget: type === "link" || type === "symlink" ? target : undefined,
        device: type === "char" || type === "block" ? device : undefined,
        size: type === "file" ? data.length : undefined,
      },
      type === "file" ? data : undefined,
    ]);
  await fc.assert(
    fc.asyncProperty(fc.array(header, { minLength: 1, maxLength: 8 }), async (entries) => {
      const found = await readBack(archive(entries));
      expect(found).toHaveLength(entries.length);
      for (const [i, [put, data]] of entries.entries()) {
        const one = found[i]!;
        expect({ ...one, path: one.path.replace(/\/$/, "") }).toMatchObject({
          type: put.type,
          path: put.path,
          mode: put.mode,
          uid: put.uid,
          gid: put.gid,
          mtime: put.mtime,
          linkTarget: put.linkTarget ?? "",
          data: data ?? Buffer.alloc(0),
          deviceMajor: put.device?.[0] ?? 0,
          deviceMinor: put.device?.[1] ?? 0,
        });
        expect(Object.fromEntries(one.xattrs)).toEqual(put.xattrs);
      }
    }),
    { numRuns: 300, seed: 5 },
  );
});

test("GNU tar reads it: long names, bytes, owners, times, holes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "msb-tar-"));
  try {
    const long = `${"d".repeat(90)}/${"f".repeat(200)}`;
    const sparse = [
      { offset: 1_000_000, length: 5 },
      { offset: 9_000_000, length: 4096 },
    ];
    const tar = archive([
      [{ ...plain, type: "directory", path: "d".repeat(90), mode: 0o755 }],
      [
        { ...plain, path: long, size: 5, uid: 3_000_000, mtime: [1_700_000_000, 250_000_000] },
        Buffer.from("hello"),
      ],
      [{ ...plain, path: "caf\xe9", size: 0, xattrs: { "user.a=b%": "c" } }],
      [
        { ...plain, path: "holes", size: 10_000_000, sparse },
        Buffer.concat([Buffer.from("12345"), Buffer.alloc(4096, "z")]),
      ],
      [{ ...plain, type: "symlink", path: "link", linkTarget: "x".repeat(150) }],
    ]);
    writeFileSync(join(folder, "a.tar"), tar);
    const listing = execFileSync("tar", ["--numeric-owner", "--full-time", "-tvf", join(folder, "a.tar")], {
      encoding: "latin1",
      env: { ...process.env, TZ: "UTC", LC_ALL: "C" },
    });
    expect(listing).toContain(`3000000/0`);
    expect(listing).toContain("2023-11-14 22:13:20.25");
    expect(listing).toContain("caf\\351");
    execFileSync("tar", ["--no-same-owner", "-xf", join(folder, "a.tar"), "-C", folder, "holes", long]);
    const holes = await readFile(join(folder, "holes"));
    expect(holes.length).toBe(10_000_000);
    expect(holes.toString("latin1", 1_000_000, 1_000_006)).toBe("12345\0");
    expect((await stat(join(folder, "holes"))).blocks * 512).toBeLessThan(1_000_000);
    expect(await readFile(join(folder, long), "utf8")).toBe("hello");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a size beyond what octal digits hold goes into a record", () => {
  const header = tarHeader({ ...plain, size: 2 ** 40 });
  expect(header.toString("latin1")).toContain(`size=${2 ** 40}\n`);
});
