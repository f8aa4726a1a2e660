/** Layers made to cost their reader more than they are worth, or to lead out of the root. Streams: none is ever whole in memory. */

import { gzipSync, zstdCompressSync } from "node:zlib";
import {
  buildTar,
  header,
  inChunks,
  paxRecord,
  type TestEntry,
  withChecksum,
} from "../../tar/tar-builder.test-support.ts";
import type { ImageLimits } from "./limits.ts";

export interface HostileLayer {
  name: string;
  tar(): AsyncIterable<Uint8Array>;
  /** Where it is found out: as it streams in, or when it is merged. `harmless`: it is taken, and means nothing bad. */
  fate: "refused" | "refused when merged" | "harmless";
  /** What the refusal says. */
  says?: RegExp;
  /** Smaller than by default, where reaching those would take minutes. */
  limits?: Partial<ImageLimits>;
}

const MIB = 2 ** 20;
const ZEROS = Buffer.alloc(16 * MIB);

const refused = (
  name: string,
  says: RegExp,
  tar: HostileLayer["tar"],
  limits?: Partial<ImageLimits>,
): HostileLayer => ({ name, says, tar, fate: "refused", ...(limits && { limits }) });

const merging = (name: string, says: RegExp, entries: TestEntry[]): HostileLayer => ({
  name,
  says,
  tar: () => inChunks(buildTar(entries)),
  fate: "refused when merged",
});

const harmless = (name: string, tar: HostileLayer["tar"]): HostileLayer => ({ name, tar, fate: "harmless" });

const of = (entries: TestEntry[]) => () => inChunks(buildTar(entries));

async function* endless(...pieces: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (;;) yield* pieces;
}

async function* after(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}

/** A tar of entries without end. */
function manyEntries(): AsyncGenerator<Uint8Array> {
  const blocks = Array.from({ length: 1000 }, (_, i) => header({ path: `d/entry-${i}` }, 0));
  return endless(Buffer.concat(blocks));
}

/** An entry of this header alone, changed in place and summed anew. */
function lying(entry: TestEntry, size: number, change: (block: Buffer) => void): Buffer {
  const block = header(entry, size);
  change(block);
  return withChecksum(block);
}

const base256 = (value: bigint, bytes: number): Buffer => {
  const field = Buffer.alloc(bytes);
  let rest = BigInt.asUintN(bytes * 8, value);
  for (let i = bytes - 1; i >= 0; i--, rest >>= 8n) field[i] = Number(rest & 0xffn);
  field[0]! |= 0x80;
  return field;
};

const sparse = (path: string, size: number, more: Partial<TestEntry> = {}): TestEntry => ({
  path,
  data: Buffer.from("x"),
  pax: [
    ["GNU.sparse.size", String(size)],
    ["GNU.sparse.map", `${size - 1},1`],
  ],
  ...more,
});

/** A sparse map of PAX 1.0 that goes on and on. */
async function* endlessMap(): AsyncGenerator<Uint8Array> {
  const records = Buffer.concat([
    paxRecord("GNU.sparse.major", "1"),
    paxRecord("GNU.sparse.minor", "0"),
    paxRecord("GNU.sparse.name", "map"),
    paxRecord("GNU.sparse.realsize", String(2 ** 40)),
  ]);
  const padding = Buffer.alloc((512 - (records.length % 512)) % 512);
  yield Buffer.concat([header({ path: "pax", typeflag: "x" }, records.length), records, padding]);
  yield lying({ path: "map" }, 0, (block) => base256(2n ** 36n, 12).copy(block, 124));
  yield Buffer.from("90000000\n");
  yield* endless(Buffer.from("0\n0\n".repeat(16_384)));
}

/** A GNU sparse header whose extension blocks each promise another. */
function endlessExtensions(): AsyncGenerator<Uint8Array> {
  const first = lying({ path: "old", typeflag: "S" }, 0, (block) => {
    block.write("ustar  \0", 257, "latin1");
    block[482] = 1;
    block.write("00000001000\0", 483, "latin1");
  });
  const extension = Buffer.alloc(512);
  for (let i = 0; i < 21; i++) extension.write("00000000000\0".repeat(2), i * 24, "latin1");
  extension[504] = 1;
  return after(first, endless(Buffer.concat(Array(64).fill(extension))));
}

/** A frame that asks its reader for a window of 2 GiB (RFC 8878, 3.1.1.1.2). */
const WIDE_WINDOW = Buffer.concat([
  Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3]),
  Buffer.from([0x01, 0x00, 0x00]), // one raw block of no bytes, the last
]);

const SMALL = { maxLayerBytes: 256 * MIB };
const link = (path: string, linkTarget: string): TestEntry => ({ path, typeflag: "1", linkTarget });
const symlink = (path: string, linkTarget: string): TestEntry => ({ path, typeflag: "2", linkTarget });
const withPax = (...pax: [string, string][]) => of([{ path: "lies", pax }]);

export const HOSTILE_LAYERS: HostileLayer[] = [
  refused("gzip of zeros behind the end", /larger than/, () => endless(gzipSync(ZEROS)), SMALL),
  refused(
    "gzip of a file of zeros",
    /larger than/,
    () => {
      const file = lying({ path: "zeros" }, 0, (block) => base256(2n ** 38n, 12).copy(block, 124));
      return after(gzipSync(file), endless(gzipSync(ZEROS)));
    },
    SMALL,
  ),
  refused("zstd of zeros", /larger than/, () => endless(zstdCompressSync(ZEROS)), SMALL),
  refused("zstd within zstd within gzip", /checksum|ends in the middle/, () =>
    inChunks(gzipSync(zstdCompressSync(zstdCompressSync(ZEROS)))),
  ),
  refused("zstd with a window of 2 GiB", /zstd data is damaged/, () => inChunks(WIDE_WINDOW)),
  refused("entries without end", /more than 1000000 entries; .*"d\/entry-0"/, manyEntries),
  harmless("a file of 1 TB that is a hole", of([sparse("hole", 1e12)])),
  refused("a file beyond what ext4 can hold", /"beyond".*out of range/, of([sparse("beyond", 2 ** 50)])),
  refused(
    "many large holes",
    /"many-\d+" makes the layer larger/,
    of(Array.from({ length: 3000 }, (_, i) => sparse(`many-${i}`, 2 ** 43))),
  ),
  refused("a sparse map without end", /"map".*/, endlessMap),
  refused("GNU sparse blocks without end", /"old".*/, endlessExtensions),
  refused("a path of 4,096 directories", /longer than 4095/, of([{ path: "d/".repeat(4096) }])),
  merging("a path that a symbolic link makes deeper", /deeper than 2048 directories/, [
    { path: "d/".repeat(2000), typeflag: "5" },
    symlink("down", "d/".repeat(2000)),
    { path: `down/${"e/".repeat(2000)}f` },
  ]),
  merging("symbolic links in a circle", /"a\/x".*too many symbolic links/, [
    symlink("a", "b"),
    symlink("b", "a"),
    { path: "a/x" },
  ]),
  merging("a symbolic link to itself", /"self\/x".*too many symbolic links/, [
    symlink("self", "self"),
    { path: "self/x" },
  ]),
  merging("symbolic links that double at each step", /too many symbolic links/, [
    { path: "s0", typeflag: "5" },
    ...Array.from({ length: 60 }, (_, i) => symlink(`s${i + 1}`, `s${i}/../s${i}`)),
    { path: "s60/x" },
  ]),
  harmless(
    "symbolic links out of the root, and files through them",
    of([
      symlink("out", "/../../../../../../tmp"),
      { path: "out/hostile-escaped" },
      symlink("up", "../../../../../.."),
      { path: "up/hostile-escaped" },
      { path: "../../../../../tmp/hostile-escaped" },
      { path: "/tmp/hostile-escaped" },
    ]),
  ),
  merging("a hard link to outside", /"h".*"etc\/passwd", which does not exist/, [
    link("h", "../../../../etc/passwd"),
  ]),
  merging("a hard link to outside, through a symbolic link", /"h".*which does not exist/, [
    symlink("etc", "/../../etc"),
    link("h", "etc/passwd"),
  ]),
  merging("a hard link to a directory", /"h".*to the directory "d"/, [
    { path: "d", typeflag: "5" },
    link("h", "d"),
  ]),
  merging("a hard link to the root", /"h".*to the directory ""/, [link("h", "/")]),
  merging("a hard link to itself", /"h".*which does not exist/, [link("h", "h")]),
  merging("a file for a directory", /"f\/x".*is not a directory/, [{ path: "f" }, { path: "f/x" }]),
  refused("a symbolic link for the root", /only a directory can be the root/, of([symlink("./", "/etc")])),
  refused("a negative size", /-1 bytes is out of range/, () =>
    inChunks(lying({ path: "negative" }, 0, (block) => base256(-1n, 12).copy(block, 124))),
  ),
  refused("a size with a sign", /size is not a number/, () =>
    inChunks(lying({ path: "signed" }, 0, (block) => block.write("-0000000001", 124, "latin1"))),
  ),
  refused("a negative size in PAX", /size/, withPax(["size", "-1"])),
  refused("a size of PAX beyond all numbers", /size/, withPax(["size", "9".repeat(40)])),
  refused("a size that is larger than the archive", /ends in the middle/, () =>
    inChunks(lying({ path: "large" }, 2 ** 32, () => {})),
  ),
  refused("a sum that is wrong", /checksum/, () => {
    const block = header({ path: "sum" }, 0);
    block[0]! ^= 1;
    return inChunks(block);
  }),
  refused("a length of PAX that lies", /header at byte 0/, () => {
    const data = Buffer.from("99 path=x\n");
    const padded = Buffer.concat([data, Buffer.alloc(512 - data.length)]);
    return inChunks(Buffer.concat([header({ path: "p", typeflag: "x" }, data.length), padded]));
  }),
  refused("one PAX header of 4 GiB", /extended header of \d+ bytes is too large/, () =>
    after(
      lying({ path: "p", typeflag: "x" }, 2 ** 32, () => {}),
      endless(ZEROS),
    ),
  ),
  refused("one GNU name of 4 GiB", /extended header of \d+ bytes is too large/, () =>
    after(
      lying({ path: "././@LongLink", typeflag: "L" }, 2 ** 32, () => {}),
      endless(ZEROS),
    ),
  ),
  refused("PAX headers without end", /larger than/, () => endless(paxHeader("x", 200_000)), SMALL),
  refused("global PAX headers without end", /larger than/, () => endless(paxHeader("g", 200_000)), SMALL),
  refused(
    "extended attributes without end",
    /"xattrs".*extended attributes take more/,
    of([
      {
        path: "xattrs",
        xattrs: Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`user.x${i}`, "v".repeat(1000)])),
      },
    ]),
  ),
  refused("a name that Linux cannot hold", /longer than 255/, of([{ path: "n".repeat(256) }])),
  refused("a mark that hides nothing", /"\.wh\.".*hides no name/, of([{ path: ".wh." }])),
  refused("a mark that hides the parent", /hides no name/, of([{ path: "d/.wh..." }])),
  refused("a user beyond all numbers", /4294967295 is no user/, withPax(["uid", "4294967295"])),
  refused(
    "a device beyond all numbers",
    /"dev".*is no device number/,
    of([{ path: "dev", typeflag: "3", device: [4096, 0] }]),
  ),
];

function paxHeader(typeflag: string, bytes: number): Buffer {
  const data = paxRecord("comment", "x".repeat(bytes));
  const padding = Buffer.alloc((512 - (data.length % 512)) % 512);
  return Buffer.concat([header({ path: "p", typeflag }, data.length), data, padding]);
}
