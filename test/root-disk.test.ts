import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Image } from "../src/sdk/index.ts";
import { type ByteString, fromBytes } from "../src/tar/byte-string.ts";
import { buildTar, type TestEntry } from "../src/tar/tar-builder.test-support.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** What the guest's kernel reads back through EROFS and overlayfs is what was put in, to the last nanosecond. */

/** A line of test/tree-probe. */
interface Seen {
  path: ByteString;
  type: number;
  mode: number;
  uid: number;
  gid: number;
  links: number;
  inode: number;
  size: number;
  mtime: string;
  device?: string;
  target?: ByteString;
  sha256?: string;
  xattrs?: Record<string, ByteString>;
}

/** A file as it should be; names of the same file share the object. */
interface Put {
  entry: TestEntry;
  /** Seconds and nanoseconds as the kernel counts them: nanoseconds go forward also before 1970. */
  mtime: [number, number];
  names: number;
  size: number;
  sha256: string;
}

type Tree = Map<ByteString, Put>;

const TYPE_BITS: Record<string, number> = {
  "0": 0o100000,
  "2": 0o120000,
  "3": 0o020000,
  "4": 0o060000,
  "5": 0o040000,
  "6": 0o010000,
};
const WHOLE_BYTES = 2 ** 20;
const WINDOWS = 16;
const WINDOW_BYTES = 64 * 1024;

describe("the guest reads back", () => {
  let driver: SandboxDriver;
  let probe: GoProgram;
  let base: Buffer;
  let config: unknown;
  let images = 0;
  beforeAll(async () => {
    probe = await buildGoProgram("tree-probe");
    driver = await SandboxDriver.open("rootdisk", { image: false });
    const built = (name: string) =>
      readFile(fileURLToPath(new URL(`../build/images/${name}`, import.meta.url)));
    base = withoutEnd(await built("msb-base.tar"));
    config = JSON.parse((await built("msb-base.config.json")).toString());
  });
  afterAll(async () => {
    await driver?.[Symbol.asyncDispose]();
    await probe?.[Symbol.asyncDispose]();
  });

  /** Makes an image of the base and the entries below `tree/`, and looks at it from inside. */
  async function readBack(entries: TestEntry[]): Promise<Map<ByteString, Seen>> {
    const image = `test/tree-${++images}`;
    const tar = buildTar([
      { path: "probe", mode: 0o755, data: await readFile(probe.path) },
      { path: "tree", typeflag: "5", mode: 0o755 },
      ...entries.map((entry) => ({
        ...entry,
        path: `tree/${entry.path}`,
        ...(entry.typeflag === "1" ? { linkTarget: `tree/${entry.linkTarget}` } : {}),
      })),
    ]);
    await Image.import(image, Readable.from([base, tar]), { connection: driver.connection, config });
    await using sandbox = await driver.create({ image });
    const { stdout, stderr, exitCode } = await sandbox.exec("/probe", ["/tree"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    const seen = lines.map((line) => fromJson(JSON.parse(line)));
    return new Map(
      seen.map((one) => [one.path, one]).filter(([path]) => path !== ".") as [ByteString, Seen][],
    );
  }

  function compare(seen: Map<ByteString, Seen>, tree: Tree): void {
    expect([...seen.keys()].sort()).toEqual([...tree.keys()].sort());
    const inodes = new Map<Put, number>();
    for (const [path, put] of tree) {
      const { entry, mtime, names } = put;
      const one = seen.get(path)!;
      const type = entry.typeflag ?? "0";
      const expected: Partial<Seen> = {
        path,
        type: TYPE_BITS[type]!,
        mode: type === "2" ? 0o777 : entry.mode!,
        uid: entry.uid!,
        gid: entry.gid!,
        mtime: `${mtime[0]}.${String(mtime[1]).padStart(9, "0")}`,
        // How many links a directory has is every file system's own business.
        ...(type === "5" ? {} : { links: names }),
        ...(type === "0" ? { size: put.size, sha256: put.sha256 } : {}),
        ...(type === "2" ? { target: entry.linkTarget! } : {}),
        ...(entry.device ? { device: entry.device.join(":") } : {}),
        ...((type === "0" || type === "5") && entry.xattrs ? { xattrs: entry.xattrs } : {}),
      };
      expect(one).toMatchObject(expected);
      if (expected.xattrs) expect(one.xattrs).toEqual(expected.xattrs);
      expect(inodes.get(put) ?? one.inode, "names of one file share its inode").toBe(one.inode);
      inodes.set(put, one.inode);
    }
    const files = [...inodes].filter(([{ entry }]) => entry.typeflag !== "5").map(([, inode]) => inode);
    expect(new Set(files).size, "different files have different inodes").toBe(files.length);
  }

  test("random trees", async () => {
    await fc.assert(
      fc.asyncProperty(randomTree, async ({ entries, tree }) => compare(await readBack(entries), tree)),
      // Each run is a VM, and one that fails is shown as it is: to shrink it would take a hundred.
      { numRuns: 3, seed: 20_240_601, endOnFailure: true },
    );
  });

  test("what is at the edge of what Linux can hold", async () => {
    const entries: TestEntry[] = [];
    const tree: Tree = new Map();
    const mtime: [number, number] = [1_700_000_000, 123_456_789];
    const put = (entry: TestEntry, content: (at: number, length: number) => Buffer, size: number) => {
      const whole = { mode: 0o640, uid: 0, gid: 0, mtime: paxTime(mtime), ...entry };
      entries.push(whole);
      tree.set(entry.path, { entry: whole, mtime, names: 1, size, sha256: digest(content, size) });
    };
    const file = (path: ByteString, data: Buffer) =>
      put({ path, data }, (at, length) => data.subarray(at, at + length), data.length);
    const folder = (path: ByteString) => put({ path, typeflag: "5", mode: 0o751 }, () => Buffer.alloc(0), 0);

    for (const size of [0, 1, 4095, 4096, 4097, 8191, 8192, 8193]) file(`size-${size}`, noise(size, size));
    file("large", noise(3 * 2 ** 20 + 1, 3));

    // The bytes that stand in the way: a line's end, a quote, an option, nothing but dots and spaces; and two encodings.
    for (const name of [
      "\n",
      "a\nb",
      " ",
      "'",
      '"',
      "\\",
      "-rf",
      "...",
      "\xff\xfe",
      "\x7f\x01",
      "*",
      "é".repeat(127),
    ]) {
      const path = fromBytes(Buffer.from(name, /[^\0-\xff]|é/.test(name) ? "utf8" : "latin1"));
      file(path, Buffer.from(name));
    }
    file("n".repeat(255), Buffer.from("long"));
    put({ path: "to-nowhere", typeflag: "2", linkTarget: "t".repeat(4095) }, () => Buffer.alloc(0), 4095);

    folder("many");
    for (let i = 0; i < 10_000; i++) {
      file(`many/${i % 101 === 0 ? `${i}-`.padEnd(255, "x") : `file-${i}`}`, Buffer.from(String(i)));
    }

    // As deep as a path of 4,095 bytes with /tree/ in front goes, in steps that an emulated CPU walks in time.
    const step = "deep-down-the-tree";
    let deep = "";
    while (deep.length + step.length + 1 + "/tree/end".length <= 4095) {
      deep += (deep && "/") + step;
      folder(deep);
    }
    file(`${deep}/end`, Buffer.from("bottom"));

    const size = 5 * 2 ** 30 + 12_345;
    const pieces: [number, Buffer][] = [
      [0, noise(5000, 5)],
      [Math.floor(size / WINDOWS) * 9 + 100, noise(4096, 6)],
      [size - 777, noise(777, 7)],
    ];
    put(
      {
        path: "sparse",
        data: Buffer.concat(pieces.map(([, data]) => data)),
        pax: [
          ["GNU.sparse.name", "tree/sparse"],
          ["GNU.sparse.size", String(size)],
          ["GNU.sparse.map", pieces.map(([at, data]) => `${at},${data.length}`).join(",")],
        ],
      },
      (at, length) => {
        const window = Buffer.alloc(length);
        for (const [start, data] of pieces) {
          for (let i = Math.max(start, at); i < Math.min(start + data.length, at + length); i++)
            window[i - at] = data[i - start]!;
        }
        return window;
      },
      size,
    );

    compare(await readBack(entries), tree);
  }, 180_000);
});

/** Trees of about 300 files of all kinds; every fifth has a second name. */
const randomTree: fc.Arbitrary<{ entries: TestEntry[]; tree: Tree }> = (() => {
  const name: fc.Arbitrary<ByteString> = fc
    .oneof(
      { weight: 6, arbitrary: fc.string({ minLength: 1, maxLength: 12 }) },
      { weight: 3, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 255 }).map(fromBytes) },
      { weight: 2, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).map(utf8) },
      { weight: 1, arbitrary: fc.constant("n".repeat(255)) },
    )
    .map((bytes) => bytes.replace(/[\0/]/g, "x"))
    .filter((text) => text !== "." && text !== ".." && !text.startsWith(".wh."));
  const id = fc.oneof(fc.constantFrom(0, 1000, 65_534), fc.integer({ min: 0, max: 0xffff_fffe }));
  const attributes = {
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: id,
    gid: id,
    time: fc.tuple(fc.integer({ min: -(2 ** 33), max: 2 ** 34 }), fc.integer({ min: 0, max: 999_999_999 })),
    xattrs: fc.record(
      {
        "user.a": fc.uint8Array({ minLength: 1, maxLength: 90 }).map(fromBytes),
        "user.a-longer-name": fc.uint8Array({ minLength: 1, maxLength: 900 }).map(fromBytes),
        "trusted.t": fc.uint8Array({ minLength: 1, maxLength: 90 }).map(fromBytes),
        // The kernel looks at this one: version 2, effective, CAP_NET_BIND_SERVICE.
        "security.capability": fc.constant(
          fromBytes(Buffer.from("0100000200040000000000000000000000000000", "hex")),
        ),
      },
      { requiredKeys: [] },
    ),
  };
  const size = fc.oneof(fc.constantFrom(0, 1, 4095, 4096, 4097), fc.integer({ min: 0, max: 20_000 }));
  const target = fc.oneof(
    name,
    fc.integer({ min: 1, max: 4095 }).map((length) => "t".repeat(length)),
  );
  const device = fc.tuple(fc.integer({ min: 0, max: 4095 }), fc.integer({ min: 0, max: 2 ** 20 - 1 }));
  const node = fc.oneof(
    { weight: 5, arbitrary: fc.record({ typeflag: fc.constant("0"), size, fill: fc.nat(), ...attributes }) },
    { weight: 2, arbitrary: fc.record({ typeflag: fc.constant("5"), ...attributes }) },
    { weight: 1, arbitrary: fc.record({ typeflag: fc.constant("2"), linkTarget: target, ...attributes }) },
    { weight: 1, arbitrary: fc.record({ typeflag: fc.constantFrom("3", "4"), device, ...attributes }) },
    { weight: 1, arbitrary: fc.record({ typeflag: fc.constant("6"), ...attributes }) },
  );
  return fc
    .array(fc.tuple(name, node, fc.nat(), fc.nat()), { minLength: 250, maxLength: 350, size: "max" })
    .map((nodes) => {
      const entries: TestEntry[] = [];
      const tree: Tree = new Map();
      const folders = [""];
      for (const [i, [leaf, { time, ...node }, where, link]] of nodes.entries()) {
        const parent = folders[where % folders.length]!;
        const path = parent === "" ? leaf : `${parent}/${leaf}`;
        if (tree.has(path) || path.length > 3000) continue;
        const data = "size" in node ? noise(node.size, node.fill) : Buffer.alloc(0);
        const entry: TestEntry = { ...node, path, data, mtime: paxTime(time) };
        delete (entry as { size?: number }).size;
        // Linux has no extended attributes of these kinds on what is neither file nor folder.
        if (node.typeflag !== "0" && node.typeflag !== "5") delete entry.xattrs;
        const put: Put = {
          entry,
          mtime: time,
          names: 1,
          size: data.length,
          sha256: digest((at, length) => data.subarray(at, at + length), data.length),
        };
        entries.push(entry);
        tree.set(path, put);
        if (node.typeflag === "5") folders.push(path);
        else if (link % 5 === 0) {
          const second = `link-${i}`;
          entries.push({ path: second, typeflag: "1", linkTarget: path });
          tree.set(second, put);
          put.names = 2;
        }
      }
      // A failure names the file that differs; the whole tree, printed, would bury it.
      return { entries, tree, [fc.toStringMethod]: () => `a tree of ${tree.size} names` };
    });
})();

/** As much of the text's UTF-8 as one name holds. */
function utf8(text: string): ByteString {
  return fromBytes(Buffer.from(text, "utf8").subarray(0, 255));
}

/** Decimal seconds. Before 1970 the fraction counts backwards: -2 s and 0.25 s are -1.75. */
function paxTime([seconds, nanos]: [number, number]): string {
  if (seconds >= 0 || nanos === 0) return `${seconds}.${String(nanos).padStart(9, "0")}`;
  return `-${-seconds - 1}.${String(1_000_000_000 - nanos).padStart(9, "0")}`;
}

/** The probe's: of all bytes, or of windows of a large file. */
function digest(content: (at: number, length: number) => Buffer, size: number): string {
  const hash = createHash("sha256");
  if (size <= WHOLE_BYTES) hash.update(content(0, size));
  else {
    for (let i = 0; i <= WINDOWS; i++) {
      hash.update(content(Math.min(i * Math.floor(size / WINDOWS), size - WINDOW_BYTES), WINDOW_BYTES));
    }
  }
  return hash.digest("hex");
}

/** Bytes without a pattern, so that no block can stand for another. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed ^ 0x9e37_79b9) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** A tar without the zeros at its end, so that more can follow. */
function withoutEnd(tar: Buffer): Buffer {
  const zeros = Buffer.alloc(512);
  let end = tar.length;
  while (end >= 512 && tar.subarray(end - 512, end).equals(zeros)) end -= 512;
  return tar.subarray(0, end);
}

function fromJson(line: Record<string, unknown>): Seen {
  const bytes = (text: unknown) => fromBytes(Buffer.from(String(text), "base64"));
  const xattrs = line.xattrs as Record<string, string> | undefined;
  return {
    ...(line as unknown as Seen),
    path: bytes(line.path),
    ...(line.target === undefined ? {} : { target: bytes(line.target) }),
    xattrs: Object.fromEntries(Object.entries(xattrs ?? {}).map(([name, value]) => [name, bytes(value)])),
  };
}
