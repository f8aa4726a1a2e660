import { expect, test } from "vitest";
import { buildTar } from "../../../tar/tar-builder.test-support.ts";
import { buildBench, contents, files } from "../testing/build-bench.ts";

test("COPY: into, under another name, contents of folders, through the image's links", async () => {
  await using b = await buildBench();
  const image = await b.build(
    `FROM msb/base
WORKDIR /work
COPY a.txt .
COPY a.txt renamed
COPY *.txt texts/
COPY dir copied
COPY dir/link /bin/
COPY --chown=user:staff --chmod=600 a.txt /srv
COPY --chown=5 b.txt /new/deep/
COPY <<EOF /etc/motd
hello $PATH
EOF`,
    files,
  );
  const all = await contents(b.store, image.digest);
  const at = (path: string) => all.get(path);
  expect(at("work/")).toBe("755 0:0");
  expect(at("work/a.txt")).toBe("A|640 0:0");
  expect(at("work/renamed")).toBe("A|640 0:0");
  expect(at("work/texts/b.txt")).toBe("B|644 0:0");
  expect(at("work/copied/")).toBe("755 0:0");
  expect(at("work/copied/sub/two")).toBe("2|755 0:0");
  expect(at("work/copied/link")).toBe("symlink one");
  expect(at("usr/bin/link")).toBe("1|644 0:0"); // a link that is named itself is followed
  expect(at("srv/a.txt")).toBe("A|600 1000:50");
  expect(at("srv/there")).toBe("there|644 0:0");
  expect(at("new/")).toBe("755 5:5");
  expect(at("new/deep/b.txt")).toBe("B|644 5:5");
  expect(at("etc/motd")).toBe("hello /bin\n|644 0:0");
  expect(image.config).toMatchObject({
    workdir: "/work",
    env: ["PATH=/bin"],
    cmd: ["base"],
    labels: { from: "base" },
  });
});

test("ADD unpacks archives, by what they are", async () => {
  await using b = await buildBench();
  const archive = buildTar([{ path: "in/side", data: Buffer.from("tar"), uid: 9 }]);
  const image = await b.build("FROM msb/base\nADD x.bin b.txt /to/", [
    ...files,
    { path: "x.bin", data: archive },
  ]);
  const all = await contents(b.store, image.digest);
  expect(all.get("to/in/side")).toBe("tar|644 9:0");
  expect(all.get("to/b.txt")).toBe("B|644 0:0");
  const owned = await b.build("FROM msb/base\nADD --chown=user x.bin /to/", [
    { path: "x.bin", data: archive },
  ]);
  expect((await contents(b.store, owned.digest)).get("to/in/side")).toBe("tar|644 1000:1001");
  const xz = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0]);
  await expect(b.build("FROM msb/base\nADD y.xz /to/", [{ path: "y.xz", data: xz }])).rejects.toMatchObject({
    code: "unsupported",
    details: { line: 2, column: 1 },
  });
});

test("what .dockerignore names is not there, nor what it does not make an exception of", async () => {
  await using b = await buildBench();
  const ignore = { path: ".dockerignore", data: Buffer.from("dir\n!dir/sub\n*.txt\n") };
  const image = await b.build("FROM msb/base\nCOPY . /all/", [...files, ignore]);
  const all = await contents(b.store, image.digest);
  expect([...all.keys()].filter((path) => path.startsWith("all/") && !path.endsWith("/")).sort()).toEqual([
    "all/.dockerignore",
    "all/Dockerfile",
    "all/dir/sub/two",
  ]);
  await expect(b.build("FROM msb/base\nCOPY a.txt /", [...files, ignore])).rejects.toMatchObject({
    message: expect.stringContaining('"a.txt" is not in the context'),
    details: { line: 2, column: 6 },
  });
});

test("a folder that is ignored but for what an exception holds is there with just that", async () => {
  await using b = await buildBench();
  const ignore = { path: ".dockerignore", data: Buffer.from("*\n!dir/sub/**\n") };
  const image = await b.build("FROM msb/base\nCOPY dir /named/\nCOPY . /all/\nCOPY dir/s* /glob/", [
    ...files,
    ignore,
  ]);
  const all = await contents(b.store, image.digest);
  expect([...all.keys()].filter((path) => /^(named|all|glob)\/./.test(path)).sort()).toEqual([
    "all/dir/",
    "all/dir/sub/",
    "all/dir/sub/two",
    "glob/two",
    "named/sub/",
    "named/sub/two",
  ]);
  expect(all.get("all/dir/")).toBe("700 0:0");
});

test("a pattern may match nothing, and that is said", async () => {
  await using b = await buildBench();
  const image = await b.build("FROM msb/base\nCOPY a.txt none* other?/* /to/\nCOPY none* /nowhere/", files);
  const all = await contents(b.store, image.digest);
  expect([...all.keys()].filter((path) => /^(to|nowhere)/.test(path)).sort()).toEqual([
    "nowhere/",
    "to/",
    "to/a.txt",
  ]);
  const warnings = b.told.flatMap(({ output }) => output ?? []);
  expect(warnings).toEqual([
    'warning: nothing in the context matches "none*" (line 2)\n',
    'warning: nothing in the context matches "other?/*" (line 2)\n',
    'warning: nothing in the context matches "none*" (line 3)\n',
  ]);
});

test("folders that are there take over the copied ones' attributes, and what is copied to does not", async () => {
  await using b = await buildBench();
  const image = await b.build("FROM msb/base\nCOPY --chown=7:8 rootfs /", [
    { path: "rootfs", typeflag: "5", mode: 0o700 },
    { path: "rootfs/srv", typeflag: "5", mode: 0o1777 },
    { path: "rootfs/srv/new", data: Buffer.from("n") },
    { path: "rootfs/bin", typeflag: "5", mode: 0o700 },
    { path: "rootfs/bin/tool", data: Buffer.from("t") },
  ]);
  const all = await contents(b.store, image.digest);
  expect(all.get("srv/")).toBe("1777 7:8");
  expect(all.get("srv/there")).toBe("there|644 0:0");
  expect(all.get("srv/new")).toBe("n|644 7:8");
  // A link to a folder stays a link, and the folder behind it what it is.
  expect(all.get("bin")).toBe("symlink usr/bin");
  expect(all.get("usr/bin/")).toBe("755 0:0");
  expect(all.get("usr/bin/tool")).toBe("t|644 7:8");
});

test("the working directory is made for the user, and has no slash at its end", async () => {
  await using b = await buildBench();
  const image = await b.build("FROM msb/base\nUSER user\nWORKDIR /a/b/\nUSER 7:8\nWORKDIR c/.\nWORKDIR /srv");
  const all = await contents(b.store, image.digest);
  expect([all.get("a/"), all.get("a/b/"), all.get("a/b/c/"), all.get("srv/")]).toEqual([
    "755 1000:1001",
    "755 1000:1001",
    "755 7:8",
    "755 0:0",
  ]);
  expect((await b.build("FROM msb/base\nWORKDIR /a/b/")).config.workdir).toBe("/a/b");
});
