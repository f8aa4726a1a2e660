import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildTar, inChunks, type TestEntry } from "../../../tar/tar-builder.test-support.ts";
import { ingestLayer } from "../layer/ingest.ts";
import { readIndex } from "../layer/layer-index.ts";
import { DEFAULT_IMAGE_LIMITS, type ImageLimits } from "../limits.ts";
import { type Inode, isDirectory, TreeBuilder } from "./tree.ts";

/** Merges layers, lowest first; gives each path's inode. */
async function merge(
  layers: TestEntry[][],
  limits: Partial<ImageLimits> = {},
): Promise<Record<string, Inode>> {
  const all = { ...DEFAULT_IMAGE_LIMITS, ...limits };
  const builder = new TreeBuilder(all.maxEntries);
  for (const entries of layers) {
    const directory = await mkdtemp(join(tmpdir(), "msb-tree-"));
    try {
      const { digest } = await ingestLayer({ source: inChunks(buildTar(entries)), directory, limits: all });
      const index = join(directory, "tree");
      await builder.add(readIndex(index, digest, "marks"), readIndex(index, digest, "entries"));
    } finally {
      await rm(directory, { recursive: true });
    }
  }
  const found: Record<string, Inode> = {};
  const visit = (inode: Inode, path: string) => {
    if (!isDirectory(inode)) return;
    for (const [name, child] of inode.children) {
      found[path + name] = child;
      visit(child, `${path}${name}/`);
    }
  };
  visit(builder.root, "");
  return found;
}

const paths = (tree: Record<string, Inode>) => Object.keys(tree).sort();
const file = (path: string, mode = 0o644): TestEntry => ({ path, mode, data: Buffer.from(path) });
const dir = (path: string, mode = 0o755): TestEntry => ({ path, typeflag: "5", mode });
const symlink = (path: string, linkTarget: string): TestEntry => ({ path, typeflag: "2", linkTarget });
const link = (path: string, linkTarget: string): TestEntry => ({ path, typeflag: "1", linkTarget });

test("a whiteout hides what lies below, not what its own layer brings, wherever it stands", async () => {
  const lower = [dir("a"), file("a/old"), file("b"), dir("d"), file("d/x")];
  const entries = [file("a/new"), file("b", 0o600), file("d/y")];
  const marks = [
    file("a/.wh.old"),
    file(".wh.b"),
    file(".wh.d"),
    file(".wh.never-there"),
    file("no/.wh.dir"),
  ];
  for (const upper of [
    [...entries, ...marks],
    [...marks, ...entries],
  ]) {
    const tree = await merge([lower, upper]);
    expect(paths(tree)).toEqual(["a", "a/new", "b", "d", "d/y"]);
    expect(tree.b!.mode).toBe(0o600);
  }
});

test("an opaque directory hides all children from below", async () => {
  const tree = await merge([
    [file("a/x/deep"), file("a/y"), file("b")],
    [file("a/new"), dir("a", 0o700), file("a/.wh..wh..opq")],
  ]);
  expect(paths(tree)).toEqual(["a", "a/new", "b"]);
  expect(tree.a!.mode).toBe(0o700);
});

test("notes of AUFS and marks in the lowest layer are no part of the image", async () => {
  expect(
    paths(await merge([[file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs"), file(".wh.x"), file("a")]])),
  ).toEqual(["a"]);
  await expect(merge([[file("a/.wh.")]])).rejects.toMatchObject({ code: "invalid_argument" });
  await expect(merge([[file("a/.wh...")]])).rejects.toMatchObject({ code: "invalid_argument" });
});

test("types replace each other, in one layer and across layers", async () => {
  const tree = await merge([
    [dir("a"), file("a/x"), file("b"), symlink("c", "a"), file("twice", 0o600), file("twice", 0o640)],
    [file("a"), dir("b"), file("b/y"), dir("c"), file("c/z")],
  ]);
  expect(paths(tree)).toEqual(["a", "b", "b/y", "c", "c/z", "twice"]);
  expect([tree.a!.type, tree.b!.type, tree.c!.type, tree.twice!.mode]).toEqual([
    "file",
    "directory",
    "directory",
    0o640,
  ]);
});

test("a directory over a directory keeps the children", async () => {
  const tree = await merge([[dir("a", 0o755), file("a/x")], [dir("a", 0o700)]]);
  expect(paths(tree)).toEqual(["a", "a/x"]);
  expect(tree.a!.mode).toBe(0o700);
});

test("hard links reach into layers below and survive the replacement of the other name", async () => {
  const tree = await merge([
    [file("a"), link("b", "a")],
    [link("c", "/b"), file("a", 0o600)],
  ]);
  expect(tree.b).toBe(tree.c);
  expect(tree.a).not.toBe(tree.b);
  expect([tree.a!.layer, tree.b!.layer]).toEqual([1, 0]);
  await expect(merge([[link("b", "../../etc/shadow")]])).rejects.toMatchObject({ code: "invalid_argument" });
  await expect(merge([[dir("d"), link("b", "d")]])).rejects.toMatchObject({ code: "invalid_argument" });
});

test("paths stay inside the root, also through symbolic links", async () => {
  const tree = await merge([
    [
      file("/abs"),
      file("../../up"),
      file("./x/./y/../z"),
      symlink("out", "../../../.."),
      file("out/escaped"),
      symlink("bin", "usr/bin"),
      file("bin/sh"),
      symlink("usr/lib64", "../lib"),
      file("usr/lib64/ld"),
      symlink("usr/abs", "/etc"),
      file("usr/abs/hosts"),
    ],
  ]);
  expect(paths(tree)).toEqual(
    [
      "abs",
      "bin",
      "escaped",
      "etc",
      "etc/hosts",
      "lib",
      "lib/ld",
      "out",
      "up",
      "usr",
      "usr/abs",
      "usr/bin",
      "usr/bin/sh",
      "usr/lib64",
      "x",
      "x/z",
    ].sort(),
  );
});

test("what cannot be a path is refused, naming the entry", async () => {
  for (const entries of [
    [symlink("l1", "l2"), symlink("l2", "l1"), file("l1/x")],
    [file("a"), file("a/b")],
    [file("n".repeat(256))],
    [file("d/".repeat(2100))],
    [{ path: "a", pax: [["path", "a\0b"]] as [string, string][] }],
    [symlink("s", "")],
    [{ ...file("a"), uid: 0xffff_ffff }],
    [{ ...file("a"), gid: 2 ** 40 }],
    // The directory "a" goes by a name that leads through it.
    [symlink("a/up", ".."), file("a/up/x"), file("a/up/a"), file("a/up/y")],
    [file(".")],
  ]) {
    await expect(merge([entries])).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/entry "/),
    });
  }
});

test("paths that go through each other without end are stopped in time", async () => {
  const long = Array.from({ length: 1000 }, () => "d").join("/");
  const entries = [file(`${long}/x`), symlink("s0", long)];
  for (let i = 1; i < 35; i++)
    entries.push(symlink(`s${i}`, `s${i - 1}/${"../".repeat(999)}`.slice(0, 4000)));
  for (let i = 0; i < 3000; i++) entries.push(file(`s34/${i % 2}/x${i}`));
  const start = performance.now();
  await merge([entries], { maxEntries: 5000 }).catch((error) => expect(error.code).toBe("invalid_argument"));
  expect(performance.now() - start).toBeLessThan(5000);
});

test("an image has a bounded number of entries, replaced ones not counted", async () => {
  const ten = Array.from({ length: 10 }, (_, i) => file(`f${i}`));
  await expect(merge([ten], { maxEntries: 9 })).rejects.toMatchObject({ code: "invalid_argument" });
  await expect(merge([ten, [file("g")]], { maxEntries: 10 })).rejects.toMatchObject({
    code: "invalid_argument",
  });
  expect(paths(await merge([ten, [file(".wh.f0"), file("g"), file("f1")]], { maxEntries: 10 }))).toHaveLength(
    10,
  );
});
