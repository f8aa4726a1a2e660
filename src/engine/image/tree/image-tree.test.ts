import { expect, test } from "vitest";
import { buildTar, inChunks, type TestEntry } from "../../../tar/tar-builder.test-support.ts";
import { sha256 } from "../digest.ts";
import { importRootfs, newOciImage } from "../index.ts";
import { type Workspace, workspace } from "../workspace.test-support.ts";
import { treeTar } from "./tree-tar.ts";

const rootfs: TestEntry[] = [
  { path: "usr/bin/sh", mode: 0o755, data: Buffer.from("#!") },
  { path: "bin", typeflag: "2", linkTarget: "usr/bin" },
  { path: "abs", typeflag: "2", linkTarget: "/usr/bin/../bin/sh" },
  { path: "out", typeflag: "2", linkTarget: "../../../../usr" },
  { path: "round", typeflag: "2", linkTarget: "round" },
  { path: "same", typeflag: "1", linkTarget: "usr/bin/sh" },
  { path: "big", data: Buffer.alloc(700_000, "x") },
];

async function treeOf(ws: Workspace, ...layers: TestEntry[][]) {
  const held = [];
  for (const entries of layers)
    held.push(await ws.store.ingestLayer({ source: inChunks(buildTar(entries)), what: "test" }));
  return ws.store.openLayers(held.map(({ facts }) => facts.digest));
}

test("paths are found as a process in a chroot would find them", async () => {
  await using ws = await workspace();
  await using tree = await treeOf(ws, rootfs);
  const at = (path: string, last?: "nofollow") => {
    const found = tree.lookup(path, last === undefined ? {} : { last });
    return found && `${found.inode.type} ${found.path}`;
  };
  expect(at("")).toBe("directory ");
  expect(at("/")).toBe("directory ");
  expect(at("bin/sh")).toBe("file usr/bin/sh");
  expect(at("/bin/./sh")).toBe("file usr/bin/sh");
  expect(at("bin")).toBe("directory usr/bin");
  expect(at("bin", "nofollow")).toBe("symlink bin");
  expect(at("bin/", "nofollow")).toBe("directory usr/bin");
  expect(at("abs")).toBe("file usr/bin/sh");
  expect(at("out/bin/sh")).toBe("file usr/bin/sh");
  expect(at("../../etc/../usr")).toBe(undefined);
  expect(at("../../usr")).toBe("directory usr");
  expect(at("round")).toBe(undefined);
  expect(at("round", "nofollow")).toBe("symlink round");
  for (const path of ["bin/sh/", "bin/sh/.", "bin/sh/x", "none", "none/x", "a/".repeat(5000)]) {
    expect(at(path), path.slice(0, 20)).toBe(undefined);
  }
});

test("contents are read from the layer that they came with", async () => {
  await using ws = await workspace();
  const sparse: TestEntry = {
    path: "holes",
    data: Buffer.concat([Buffer.from("1\n1000000\n3\n".padEnd(512, "\0"), "latin1"), Buffer.from("abc")]),
    pax: [
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.realsize", "2000000"],
    ],
  };
  await using tree = await treeOf(ws, rootfs, [{ path: "usr/bin/sh", data: Buffer.from("new") }, sparse]);
  const text = async (path: string) => (await tree.readSmall(tree.lookup(path)!.inode, 1000)).toString();
  expect(await text("bin/sh")).toBe("new");
  expect(await text("same")).toBe("#!");
  await expect(text("big")).rejects.toMatchObject({ code: "invalid_argument" });
  const holes = tree.lookup("holes")!.inode;
  const all = Buffer.concat((await Array.fromAsync(tree.read(holes))).map((piece) => Buffer.from(piece)));
  expect([all.length, all.toString("latin1", 999_999, 1_000_004)]).toEqual([2_000_000, "\0abc\0"]);
  expect(tree.extents(holes).reduce((sum, { length }) => sum + length, 0)).toBeLessThan(100_000);
});

test("a tree as a tar is the same tree again", async () => {
  await using ws = await workspace();
  const second: TestEntry[] = [
    { path: ".wh.big" },
    { path: "dev/null", typeflag: "3", device: [1, 3], mode: 0o666 },
    {
      path: "usr/bin/ping",
      data: Buffer.from("p"),
      xattrs: { "security.capability": "\x01\0\0\x02" },
      uid: 3_000_000,
    },
    { path: "caf\xe9", mtime: "-1.5" },
  ];
  await using tree = await treeOf(ws, rootfs, second);
  const tar = async (from: typeof tree) =>
    Buffer.concat((await Array.fromAsync(treeTar(from))).map((piece) => Buffer.from(piece)));
  const flat = await tar(tree);
  const image = await importRootfs(ws.store, { stream: inChunks(flat), name: "flat" });
  await using again = await ws.store.openTree(image.digest);
  expect(sha256(await tar(again))).toBe(sha256(flat));
  expect(again.lookup("big")).toBeUndefined();
  expect(again.lookup("same")!.inode).toBe(again.lookup("usr/bin/sh")!.inode);
  expect(again.lookup("usr/bin/ping")!.inode).toMatchObject({
    uid: 3_000_000,
    xattrs: { "security.capability": "\x01\0\0\x02" },
  });
  expect(again.lookup("caf\xe9")!.inode.mtime).toEqual([-2, 500_000_000]);
});

test("a layer that does not fit on those below is named, not one of them", async () => {
  await using ws = await workspace();
  const broken = buildTar([{ path: "name", typeflag: "1", linkTarget: "no/such/file" }]);
  using lower = await ws.store.ingestLayer({ source: inChunks(buildTar(rootfs)), what: "lower" });
  using upper = await ws.store.ingestLayer({ source: inChunks(broken), what: "upper" });
  const layers = [lower, upper].map(({ facts }) => facts.digest);
  const refusal = {
    code: "invalid_argument",
    message: `layer ${upper.facts.digest}: entry "name" cannot be part of an image: it is a hard link to "no/such/file", which does not exist`,
    details: { layer: upper.facts.digest },
  };
  await expect(ws.store.openLayers(layers)).rejects.toMatchObject(refusal);
  const config = newOciImage(layers, {}, "a test");
  await expect(ws.store.addImage({ config, name: "broken" })).rejects.toMatchObject(refusal);
});
