import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildTar, type TestEntry } from "../../src/tar/tar-builder.test-support.ts";

/** Layers of the test images, as tars. What they hold decides their digests: nothing in them depends on the time. */

const MTIME = "1700000000.123456789";
const file = (path: string, data: string, more: Partial<TestEntry> = {}): TestEntry => ({
  path,
  data: Buffer.from(data),
  mode: 0o644,
  mtime: MTIME,
  ...more,
});
const folder = (path: string, more: Partial<TestEntry> = {}): TestEntry => ({
  path: `${path}/`,
  typeflag: "5",
  mode: 0o755,
  mtime: MTIME,
  ...more,
});

/** On top of a Debian with Python: an application in layers, as a Dockerfile would have made them. */
export function applicationLayers(): Buffer[] {
  const packages = [folder("opt"), folder("opt/app")];
  for (let p = 0; p < 100; p++) {
    packages.push(folder(`opt/app/package${p}`));
    for (let m = 0; m < 20; m++)
      packages.push(file(`opt/app/package${p}/module${m}.py`, `VALUE = ${p * m}\n`.repeat(20)));
  }
  return [
    buildTar(packages),
    buildTar([
      file("opt/app/main.py", "import os\nprint('from the application', os.getuid())\n"),
      file("opt/app/data.bin", Buffer.alloc(5_000_000, "data").toString("latin1")),
      file("etc/app.conf", "first\n"),
    ]),
    buildTar([
      file("etc/app.conf", "second\n"),
      file("opt/app/package0/.wh.module0.py", ""),
      file("opt/app/.wh.package1", ""),
      folder("opt/app/package2"),
      file("opt/app/package2/.wh..wh..opq", ""),
      file("opt/app/package2/only.py", "ONLY = True\n"),
    ]),
    buildTar([
      file("opt/app/run", "#!/bin/sh\nexec python3 /opt/app/main.py\n", {
        mode: 0o755,
        uid: 1000,
        gid: 1000,
      }),
      { path: "usr/local/bin/app", typeflag: "2", linkTarget: "/opt/app/run", mtime: MTIME },
      { path: "opt/app/same.py", typeflag: "1", linkTarget: "opt/app/main.py" },
    ]),
    buildTar([file("root/.profile", "export APP=1\n"), file("etc/motd", "welcome\n")]),
  ];
}

/** On top of busybox: everything that layers are known to hold and to stumble over. */
export function nastyLayers(): Buffer[] {
  const capability = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
  return [
    buildTar([
      folder("n"),
      folder("n/hidden"),
      file("n/hidden/a", "a"),
      file("n/hidden/b", "b"),
      folder("n/opaque"),
      file("n/opaque/below", "below"),
      folder("n/opaque/sub"),
      file("n/opaque/sub/below", "below"),
      file("n/first", "one file, many names"),
      file("n/file-then-folder", "file"),
      folder("n/folder-then-file"),
      file("n/folder-then-file/in", "in"),
      folder("n/folder-then-link"),
      file("n/folder-then-link/in", "in"),
      folder("n/real"),
      { path: "n/link-to-real", typeflag: "2", linkTarget: "real", mtime: MTIME },
      file("n/cap", "with a capability", {
        mode: 0o755,
        xattrs: { "security.capability": capability, "user.note": "v\x00w=\n" },
      }),
      file(`n/${"long".repeat(40)}/${"name".repeat(50)}`, "PAX long name"),
      { path: "n/long-link", typeflag: "2", linkTarget: "t".repeat(180), mtime: MTIME },
      file("n/owned", "by many", { uid: 3_000_000, gid: 2_097_152 }),
      file("n/caf\xe9-\xff", "not UTF-8"),
      file("n/twice", "first"),
      file("n/twice", "second wins"),
      file("./n/dotted", "./ in front"),
      file("/n/absolute", "absolute"),
      file("n/../n/up", "one up and down again"),
      { path: "n/null", typeflag: "3", device: [1, 3], mode: 0o666, mtime: MTIME },
      { path: "n/disk", typeflag: "4", device: [259, 1_000], mode: 0o660, gid: 6, mtime: MTIME },
      { path: "n/fifo", typeflag: "6", mode: 0o622, mtime: MTIME },
      file("n/setuid", "s", { mode: 0o4755 }),
      folder("n/sticky", { mode: 0o1777 }),
      folder("n/old", { mtime: "-86400.5" }),
      file("n/empty", ""),
    ]),
    gnuLayer(),
    buildTar([
      file("n/.wh.hidden", ""),
      folder("n/opaque"),
      file("n/opaque/.wh..wh..opq", ""),
      file("n/opaque/above", "above"),
      // A hard link to a file of a layer below.
      { path: "n/second", typeflag: "1", linkTarget: "n/first" },
      folder("n/file-then-folder"),
      file("n/file-then-folder/in", "in"),
      file("n/folder-then-file", "file"),
      { path: "n/folder-then-link", typeflag: "2", linkTarget: "real", mtime: MTIME },
      file("n/link-to-real/through", "through a link"),
    ]),
    buildTar([
      file("n/hidden", "a file where a folder was"),
      folder("n/folder-then-file"),
      file("n/folder-then-file/again", "a folder again"),
      { path: "n/third", typeflag: "1", linkTarget: "n/second" },
      file("n/.wh.twice", ""),
    ]),
  ];
}

/** On top of those: what is rare, and read differently by those who read it carelessly. */
export function rareLayers(): Buffer[] {
  return [
    buildTar([
      folder("r"),
      folder("r/folder"),
      file("r/folder/kept", "kept"),
      file("r/target", "target"),
      { path: "r/symlink", typeflag: "2", linkTarget: "target", mtime: MTIME },
      { path: "r/absolute", typeflag: "2", linkTarget: "/r/folder", mtime: MTIME },
      { path: "r/dangling", typeflag: "2", linkTarget: "../../../nowhere", mtime: MTIME },
      // A name of a symbolic link is a name of the link, not of its target.
      { path: "r/name-of-symlink", typeflag: "1", linkTarget: "r/symlink" },
      folder("r/with-attributes", { xattrs: { "user.note": "of a folder", "trusted.note": "of root" } }),
      folder("r/opaque-last"),
      file("r/opaque-last/below", "below"),
      folder("r/whole"),
      folder("r/whole/sub"),
      file("r/whole/sub/below", "below"),
      file("r/replaced", "first"),
      { path: "r/other-name", typeflag: "1", linkTarget: "r/replaced" },
      file("../../../r/from-above", "three up, from the root"),
      { path: "r/tty", typeflag: "3", device: [4, 2 ** 19], mode: 0o620, mtime: MTIME },
      file("r/no-mode", "0", { mode: 0 }),
      file("r/new-year", "", { mtime: "0.000000001" }),
      file("r/later", "", { mtime: "4294967296.5" }),
    ]),
    buildTar([
      // Attributes of a folder change, what is in it stays.
      folder("r/folder", { mode: 0o700, uid: 7, gid: 8, mtime: "1600000000" }),
      // An opaque mark hides what is below, also where it stands behind its siblings.
      file("r/opaque-last/above", "above"),
      file("r/opaque-last/.wh..wh..opq", ""),
      folder("r/opaque-last"),
      // Hidden and made anew in one layer: what was in it is gone.
      file("r/.wh.whole", ""),
      folder("r/whole"),
      file("r/whole/new", "new"),
      file("r/.wh.never-was", ""),
      // One name is replaced, the other stays what it was.
      file("r/replaced", "second"),
      file("r/absolute/through", "through an absolute link"),
      { path: "r/symlink", typeflag: "2", linkTarget: "folder", mtime: MTIME },
      folder("r/twice", { mode: 0o711 }),
      file("r/twice/in", "in"),
      folder("r/twice", { mode: 0o750 }),
    ]),
  ];
}

/** What GNU tar writes in its own way: long names, and files with holes as PAX has them. */
function gnuLayer(): Buffer {
  return byTar((write, tar) => [
    withoutEnd(buildTar([folder("n"), folder("n/gnu")])),
    ...["0.0", "1.0"].map((version) => {
      const name = `n/gnu/sparse-${version}`;
      write(name, "begins", 3_000_000);
      return tar(name, "-S", "--format=pax", `--sparse-version=${version}`, PAX_NAMES);
    }),
    longName(write, tar),
    Buffer.alloc(1024),
  ]);
}

/** A file with holes in GNU's old format. Apart from the rest: umoci refuses it, though Docker's own code reads it. */
export function oldSparseLayer(): Buffer {
  return byTar((write, tar) => {
    write("old", "begins", 3_000_000);
    // More pieces than the header has room for, so that blocks follow it with the others.
    for (let i = 1; i <= 30; i++) write("old", `piece ${i}`, 3_000_000, i * 96 * 1024);
    return [tar("old", "-S", "--format=gnu"), Buffer.alloc(1024)];
  });
}

type Write = (path: string, data: string, size: number, at?: number) => void;
type Tar = (path: string, ...options: string[]) => Buffer;

function longName(write: Write, tar: Tar): Buffer {
  const name = `n/gnu/${"g".repeat(120)}/${"h".repeat(120)}`;
  write(name, "GNU long name", 13);
  return tar(dirname(name), "--format=gnu");
}

/** Without the number of the process that made them. */
const PAX_NAMES = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime";
const SAME = "--owner=0 --group=0 --numeric-owner --mtime=@1700000000 --sort=name --mode=u=rwX,go=rX";

/** Archives of the host's tar, one after the other, of files that are written for them. */
function byTar(parts: (write: Write, tar: Tar) => Buffer[]): Buffer {
  const work = mkdtempSync(join(tmpdir(), "msb-gnu-"));
  const write: Write = (path, data, size, at = 0) => {
    const file = join(work, path);
    mkdirSync(dirname(file), { recursive: true });
    const fd = openSync(file, constants.O_RDWR | constants.O_CREAT);
    writeSync(fd, data, at);
    ftruncateSync(fd, size);
    closeSync(fd);
  };
  const tar: Tar = (path, ...options) => {
    const args = ["-c", "-b1", ...options, ...SAME.split(" "), "-C", work, path];
    return withoutEnd(execFileSync("tar", args, { maxBuffer: 2 ** 26 }));
  };
  try {
    return Buffer.concat(parts(write, tar));
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** Without the two blocks that end an archive. Zeros before them may be a file's. */
function withoutEnd(tar: Buffer): Buffer {
  return tar.subarray(0, -1024);
}
