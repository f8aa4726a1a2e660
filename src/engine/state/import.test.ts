import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { Encrypter } from "age-encryption";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildTar, inChunks, type TestEntry } from "../../tar/tar-builder.test-support.ts";
import { encodeManifest, type StateManifest } from "./manifest.ts";
import { type Workspace, workspace } from "./state.test-support.ts";

/** A state, taken apart so that each test can put it together wrong. */
let ws: Workspace;
let manifest: StateManifest;
/** The tar of its export, and the entries of that. */
let tar: Buffer;
let files: TestEntry[];

beforeAll(async () => {
  ws = await workspace();
  const base = await ws.base(Array.from({ length: 20 }, () => 5));
  const state = await ws.put(ws.store, {
    base,
    changes: new Map([
      [2, 1],
      [3, 1],
      [9, 2],
    ]),
    name: "s",
  });
  manifest = state.manifest;
  tar = zstdDecompressSync(await buffer(await ws.store.export(state)));
  files = await Promise.all(
    manifest.files.map(async ({ path }) => ({ path, data: await readFile(join(state.directory, path)) })),
  );
  await ws.store.remove("s");
});
afterAll(() => ws[Symbol.asyncDispose]());

const first = (about: StateManifest = manifest): TestEntry => ({
  path: "manifest.json",
  data: Buffer.from(encodeManifest(about)),
});

/** The archive with one file's entry replaced. */
function withEntry(path: string, change: Partial<TestEntry>): Buffer {
  return buildTar([
    first(),
    ...files.map((entry) => (entry.path === path ? { ...entry, ...change } : entry)),
  ]);
}

/** The manifest that says of a file what is true of `data`. */
function withFile(path: string, data: Buffer, pieces = 1): Buffer {
  const sum = (bytes: Buffer) => createHash("sha256").update(bytes).digest();
  const about = structuredClone(manifest);
  const entry = about.files.find((file) => file.path === path)!;
  entry.bytes = data.length;
  const sums = Array.from({ length: pieces }, (_, i) => sum(data.subarray(i * 2 ** 20, (i + 1) * 2 ** 20)));
  entry.sha256 = sum(Buffer.concat(sums)).toString("hex");
  return buildTar([first(about), ...files.map((file) => (file.path === path ? { path, data } : file))]);
}

async function expectRefused(
  archive: AsyncIterable<Uint8Array>,
  message: string | RegExp,
  code = "invalid_argument",
) {
  await expect(ws.store.import(archive)).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
  });
  expect(await readdir(ws.directory)).toEqual([]);
}

test("what is put together right comes in, from any tar", async () => {
  for (const archive of [tar, buildTar([first(), ...files]), buildTar([first(), ...files.toReversed()])]) {
    const state = await ws.store.import(inChunks(archive));
    await ws.reopen().verify(state);
    await ws.store.remove(state.id);
  }
});

test.each<[string, () => Buffer | Promise<Buffer>, RegExp]>([
  ["nothing", () => Buffer.alloc(0), /it is empty/],
  ["an empty tar", () => buildTar([]), /it is empty/],
  [
    "a tar of something else",
    () => buildTar([{ path: "etc/passwd", data: Buffer.from("x") }]),
    /begins with "etc\/passwd"/,
  ],
  ["its manifest behind the files", () => buildTar([...files, first()]), /begins with "base"/],
  [
    "a manifest that is a link",
    () => buildTar([{ path: "manifest.json", typeflag: "2", linkTarget: "/etc/passwd" }]),
    /begins with/,
  ],
  [
    "a manifest without end",
    () => buildTar([{ path: "manifest.json", data: Buffer.alloc(5 * 2 ** 20, "[") }]),
    /too long/,
  ],
  [
    "a deep manifest",
    () => buildTar([{ path: "manifest.json", data: Buffer.alloc(2 ** 20, "[") }]),
    /cannot be read/,
  ],
  [
    "a path out of it",
    () => buildTar([first(), { path: "../x", data: Buffer.from("x") }]),
    /"\.\.\/x" has no place/,
  ],
  [
    "an absolute path",
    () => buildTar([first(), { path: "/tmp/x", data: Buffer.from("x") }]),
    /"\/tmp\/x" has no place/,
  ],
  [
    "a file that is not named",
    () => buildTar([first(), ...files, { path: "disks/upper/2" }]),
    /"disks\/upper\/2" has no place/,
  ],
  ["a second manifest", () => buildTar([first(), first()]), /"manifest.json" has no place/],
  ["a file twice", () => buildTar([first(), ...files, files[0]!]), /"base" has no place/],
  [
    "a link in place of a file",
    () => withEntry("disks/upper/0", { typeflag: "2", linkTarget: "/etc/passwd", data: Buffer.alloc(0) }),
    /"disks\/upper\/0" has no place/,
  ],
  [
    "a hard link in place of a file",
    () => withEntry("base", { typeflag: "1", linkTarget: "/etc/passwd", data: Buffer.alloc(0) }),
    /"base" has no place/,
  ],
  [
    "a device in place of a file",
    () => withEntry("state", { typeflag: "4", device: [8, 0], data: Buffer.alloc(0) }),
    /"state" has no place/,
  ],
  ["a file that is longer", () => withEntry("state", { data: Buffer.alloc(9999) }), /"state" has 9999 bytes/],
  ["a file that is shorter", () => withEntry("state", { data: Buffer.alloc(1) }), /"state" has 1 bytes/],
  [
    "other bytes",
    () => withEntry("base", { data: Buffer.alloc(20 * 4096, 6) }),
    /base is not what its sum says/,
  ],
  ["a file that is missing", () => buildTar([first(), ...files.slice(1)]), /base is missing/],
  [
    "runs beyond the memory",
    () => withFile("delta/0.runs", Buffer.from(new Uint32Array([2, 2, 20, 1]).buffer)),
    /level 0 of its memory is malformed/,
  ],
  [
    "runs that overlap",
    () => withFile("delta/0.runs", Buffer.from(new Uint32Array([2, 2, 3, 1]).buffer)),
    /level 0 of its memory is malformed/,
  ],
  [
    "fewer pages than its runs say",
    () => withFile("delta/0.runs", Buffer.from(new Uint32Array([2, 9]).buffer)),
    /level 0 of its memory is malformed/,
  ],
  ["half a run", () => withFile("delta/0.runs", Buffer.alloc(4)), /level 0 of its memory is malformed/],
  [
    "something behind its end",
    () => Buffer.concat([tar, Buffer.alloc(3 * 2 ** 20)]),
    /goes on behind its end/,
  ],
  ["half of it", () => tar.subarray(0, tar.length / 2), /ends in the middle/],
  ["damaged zstd", () => flipped(zstdCompressSync(tar), 0.5), /./],
  ["cut-off zstd", () => zstdCompressSync(tar).subarray(0, -20), /./],
])("refused, and nothing is left: %s", async (_, archive, message) => {
  await expectRefused(inChunks(await archive(), 3000), message);
});

function flipped(bytes: Buffer, where: number): Buffer {
  const bad = Buffer.from(bytes);
  bad[Math.floor(bad.length * where)]! ^= 0x10;
  return bad;
}

/** What of a manifest is forged here. */
interface Forged {
  version: number;
  id: string;
  name: string;
  more?: number;
  memory: { bytes: number; levels: number[] };
  files: { path: string; bytes: number; sha256?: string }[];
}

/** An archive whose manifest is not one, but carries its right sum. */
function forged(change: (about: Forged) => unknown): Buffer {
  const { manifest: about } = JSON.parse(encodeManifest(manifest)) as { manifest: Forged };
  change(about);
  const sha256 = createHash("sha256").update(JSON.stringify(about)).digest("hex");
  const text = `${JSON.stringify({ sha256, manifest: about }, null, 2)}\n`;
  return buildTar([{ path: "manifest.json", data: Buffer.from(text) }, ...files]);
}

test("what is forged and in order comes in", async () => {
  await ws.store.remove((await ws.store.import(inChunks(forged(() => {})))).id);
});

test.each<[string, (about: Forged) => unknown, RegExp?]>([
  ["a name that leads out", (about) => Object.assign(about.files[0]!, { path: "../../base" })],
  ["a name beside those of a state", (about) => Object.assign(about.files[0]!, { path: "disks/upper/x/0" })],
  ["a size below zero", (about) => Object.assign(about.files[0]!, { bytes: -1 })],
  ["a size beyond all bounds", (about) => Object.assign(about.files[3]!, { bytes: 2 ** 50 })],
  ["more files than a state has", (about) => about.files.push(...names(1000))],
  ["a file twice", (about) => about.files.push(about.files[3]!)],
  ["a volume twice", (about) => about.files.push(...names(1), ...names(1))],
  ["no sum", (about) => delete about.files[0]!.sha256],
  ["a memory of another size", (about) => Object.assign(about.memory, { bytes: 2 ** 39 })],
  ["more levels than it has files", (about) => Object.assign(about.memory, { levels: [3, 3, 3, 3] })],
  ["more levels than are allowed", (about) => Object.assign(about.memory, { levels: [3, 3, 3, 3, 3] })],
  ["another number of pages", (about) => Object.assign(about.memory, { levels: [4] })],
  ["a gap in a disk", (about) => Object.assign(about.files[3]!, { path: "disks/upper/7" })],
  ["more files of a disk than are allowed", (about) => about.files.push(...levels(2, 8))],
  ["another format", (about) => Object.assign(about, { version: 2 }), /another version of Microsandbox/],
  ["an id that is a path", (about) => Object.assign(about, { id: "../../../../x" })],
  ["a name that is a path", (about) => Object.assign(about, { name: "../x" })],
  ["something unknown", (about) => Object.assign(about, { more: 1 }), /has changed/],
])(
  "refused: a manifest with %s",
  async (_, change, message = /manifest\.json: its manifest cannot be read/) => {
    await expectRefused(inChunks(forged(change)), message);
  },
);

function levels(from: number, to: number): Forged["files"] {
  const sha256 = "0".repeat(64);
  const length = to - from + 1;
  return Array.from({ length }, (_, i) => ({ path: `disks/upper/${from + i}`, bytes: 0, sha256 }));
}

function names(count: number): Forged["files"] {
  const sha256 = "0".repeat(64);
  return Array.from({ length: count }, (_, i) => ({ path: `volumes/${i % 100}`, bytes: 0, sha256 }));
}

test("cut off anywhere nothing is left", async () => {
  const packed = zstdCompressSync(tar);
  for (let i = 0; i < 30; i++) {
    const archive = i % 2 === 0 ? tar : packed;
    // The last blocks of a plain tar are its end mark, which may be missing.
    const length = Math.floor(((archive.length - 1024) * i) / 30);
    await expectRefused(inChunks(archive.subarray(0, length), 4000), /./);
  }
});

test("an encrypted archive that is cut, flipped, or asks for too much work", async () => {
  const encrypter = new Encrypter();
  encrypter.setPassphrase("p");
  encrypter.setScryptWorkFactor(4);
  const archive = Buffer.from(await encrypter.encrypt(new Uint8Array(tar)));
  const load = (bytes: Buffer) => ws.store.import(inChunks(bytes, 5000), { passphrase: "p" });
  await ws.store.remove((await load(archive)).id);
  const header = archive.indexOf("\n---");
  const cases: [Buffer, string][] = [
    [archive.subarray(0, 100), "not encrypted with a passphrase"],
    [archive.subarray(0, archive.length - 1), "damaged or cut off"],
    // Whole pieces are missing: all that is there is good.
    [archive.subarray(0, header + 49 + 16 + 65_552), "damaged or cut off"],
    [flipped(archive, 0.6), "damaged or cut off"],
    [
      Buffer.from(archive.toString("latin1").replace(/^(-> scrypt \S+) 4$/m, "$1 30"), "latin1"),
      "would cost too much",
    ],
    [
      Buffer.concat([Buffer.from("age-encryption.org/v1\n-> X25519 "), Buffer.alloc(2 ** 20, "A")]),
      "not encrypted with a passphrase",
    ],
  ];
  for (const [bytes, message] of cases) {
    await expect(load(bytes), message).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(message),
    });
    expect(await readdir(ws.directory)).toEqual([]);
  }
});

test("what is zero takes no space, though the archive has it byte by byte", async () => {
  const zeros = Buffer.alloc(8 * 2 ** 20);
  const state = await ws.store.import(inChunks(withFile("disks/upper/0", zeros, 8)));
  const { size, blocks } = await stat(join(state.directory, "disks/upper/0"));
  expect({ size, blocks }).toEqual({ size: zeros.length, blocks: 0 });
  await ws.store.verify(state);
  await ws.store.remove(state.id);
});

test("what somebody does not want is not unpacked", async () => {
  const seen: unknown[] = [];
  const admit = ({ record }: StateManifest) => {
    seen.push(record);
    throw new Error("not this one");
  };
  await expect(ws.store.import(inChunks(tar, 4096), { admit })).rejects.toThrow("not this one");
  expect(seen).toEqual([manifest.record]);
  expect(await readdir(ws.directory)).toEqual([]);
});

test("an error of the source comes out as it is", async () => {
  const source = (async function* () {
    yield tar.subarray(0, 5000);
    throw new Error("the line is dead");
  })();
  await expect(ws.store.import(source)).rejects.toThrow("the line is dead");
  expect(await readdir(ws.directory)).toEqual([]);
});
