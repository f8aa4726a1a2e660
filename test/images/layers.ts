import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildTar, type TestEntry } from "../../src/engine/image/tar/tar-builder.test-support.ts";

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

/** What GNU tar writes in its own way: long names, and files with holes in all its formats. */
function gnuLayer(): Buffer {
  const work = mkdtempSync(join(tmpdir(), "msb-gnu-"));
  try {
    const at = (path: string) => join(work, path);
    mkdirSync(at(`n/gnu/${"g".repeat(120)}`), { recursive: true });
    writeFileSync(at(`n/gnu/${"g".repeat(120)}/${"h".repeat(120)}`), "GNU long name");
    const formats = {
      v00: ["--format=pax", "--sparse-version=0.0"],
      v10: ["--format=pax", "--sparse-version=1.0"],
    };
    const options = [
      "--owner=0",
      "--group=0",
      "--numeric-owner",
      "--mtime=@1700000000",
      "--sort=name",
      "--mode=u=rwX,go=rX",
    ];
    const pax = ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"];
    const gnu = join(work, "gnu.tar");
    execFileSync("tar", [
      "-c",
      "--format=gnu",
      ...options,
      "-f",
      gnu,
      "-C",
      work,
      `n/gnu/${"g".repeat(120)}`,
    ]);
    const parts = Object.entries(formats).map(([name, format]) => {
      const sparse = `n/gnu/sparse-${name}`;
      writeFileSync(at(sparse), "begins");
      truncateSync(at(sparse), 3_000_000);
      const tar = join(work, `${name}.tar`);
      execFileSync("tar", ["-c", "-S", ...format, ...pax, ...options, "-f", tar, "-C", work, sparse]);
      return withoutEnd(readFileSync(tar));
    });
    parts.push(withoutEnd(readFileSync(gnu)));
    return Buffer.concat([
      withoutEnd(buildTar([folder("n"), folder("n/gnu")])),
      ...parts,
      Buffer.alloc(1024),
    ]);
  } finally {
    rmSync(work, { recursive: true });
  }
}

function withoutEnd(tar: Buffer): Buffer {
  let end = tar.length;
  while (end > 0 && tar.subarray(end - 512, end).every((byte) => byte === 0)) end -= 512;
  return tar.subarray(0, end);
}
