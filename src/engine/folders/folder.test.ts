import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Folder, type FolderOptions } from "./folder.ts";
import { Errno, Opcode, ROOT_ID, SetAttr } from "./fuse-protocol.ts";
import { MAX_HANDLES } from "./handles.ts";
import { Kernel, nodeOf, u32 } from "./testing/kernel.ts";

let base: string;
let source: string;
const open: Folder[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "folder-"));
  source = join(base, "source");
  mkdirSync(source);
  writeFileSync(join(base, "secret"), "secret");
});
afterEach(() => {
  for (const folder of open.splice(0)) folder.close();
  rmSync(base, { recursive: true, force: true });
});

function serve(options: Partial<FolderOptions> = {}): Kernel {
  const folder = new Folder({
    source,
    readOnly: false,
    owner: { uid: 1000, gid: 1001 },
    quotaBytes: Infinity,
    journal: join(base, "journal"),
    ...options,
  });
  open.push(folder);
  return new Kernel(folder);
}

const setattr = (valid: number, { size = 0, mode = 0, uid = 0 } = {}) => [
  u32(valid),
  u32(0),
  0,
  size,
  Buffer.alloc(44),
  u32(mode),
  u32(0),
  u32(uid),
  u32(0),
  u32(0),
];

describe("a folder of the host", () => {
  test("is read and written, and shows the owner that was asked for", async () => {
    const kernel = serve();
    writeFileSync(join(source, "host"), "from the host");
    const node = await kernel.lookup("host");
    expect(await kernel.read(node, await kernel.open(node))).toBe("from the host");
    const attributes = (await kernel.ask(Opcode.getattr, node, Buffer.alloc(16))) as Buffer;
    expect([attributes.readUInt32LE(16 + 68), attributes.readUInt32LE(16 + 72)]).toEqual([1000, 1001]);
    const made = await kernel.create("guest", ROOT_ID, 0o6755);
    await kernel.write(made.node, made.handle, "from the guest");
    expect(readFileSync(join(source, "guest"), "utf8")).toBe("from the guest");
    expect(statSync(join(source, "guest")).mode & 0o7777).toBe(0o755);
  });

  test("gives no set-id bits, makes no devices, and takes them off what it writes to", async () => {
    const kernel = serve();
    const { node } = await kernel.create("program");
    await kernel.ask(Opcode.setattr, node, ...setattr(SetAttr.mode, { mode: 0o6755 }));
    expect(statSync(join(source, "program")).mode & 0o7777).toBe(0o755);
    for (const type of [0o020000, 0o060000, 0o010000, 0o140000]) {
      const answer = await kernel.ask(Opcode.mknod, ROOT_ID, u32(type | 0o644), Buffer.alloc(12), "special");
      expect(answer).toBe(Errno.EPERM);
    }
    expect(readdirSync(source)).toEqual(["program"]);
    writeFileSync(join(source, "suid"), "");
    chmodSync(join(source, "suid"), 0o4755);
    await kernel.open(await kernel.lookup("suid"), 2);
    expect(statSync(join(source, "suid")).mode & 0o7777).toBe(0o755);
    expect(await kernel.ask(Opcode.setattr, node, ...setattr(SetAttr.uid, { uid: 0 }))).toBe(Errno.EPERM);
  });

  test("opens no FIFO and no device of the host", async () => {
    execFileSync("mkfifo", [join(source, "fifo")]);
    const kernel = serve();
    const fifo = await kernel.lookup("fifo");
    // A FIFO that nobody writes to would keep the daemon for ever.
    expect(await kernel.ask(Opcode.open, fifo, u32(0), u32(0))).toBe(Errno.EACCES);
  });

  test("is not left by names and not by links", async () => {
    symlinkSync("../secret", join(source, "link"));
    symlinkSync("..", join(source, "up"));
    const kernel = serve();
    for (const name of ["..", ".", "../secret", "a/b", "/etc/passwd", ""])
      expect(await kernel.ask(Opcode.lookup, ROOT_ID, name)).toBe(Errno.EINVAL);
    expect(await kernel.ask(Opcode.lookup, ROOT_ID, Buffer.from("no NUL"))).toBe(Errno.EINVAL);
    const link = await kernel.lookup("link");
    expect(String(await kernel.ask(Opcode.readlink, link))).toBe("../secret");
    expect(await kernel.ask(Opcode.open, link, u32(0), u32(0))).toBe(Errno.EACCES);
    expect(await kernel.ask(Opcode.setattr, link, ...setattr(SetAttr.size))).toBe(Errno.EACCES);
    await kernel.ask(Opcode.setattr, link, ...setattr(SetAttr.mode, { mode: 0o777 }));
    expect(statSync(join(base, "secret")).mode & 0o777).not.toBe(0o777);
    const up = await kernel.lookup("up");
    expect(await kernel.ask(Opcode.lookup, up, "secret")).toBe(Errno.ENOTDIR);
    expect(await kernel.ask(Opcode.opendir, up, u32(0), u32(0))).toBe(Errno.ENOTDIR);
    // Made by the guest, a link is a text too.
    await kernel.ask(Opcode.symlink, ROOT_ID, "mine", "/etc/shadow");
    expect(readlinkSync(join(source, "mine"))).toBe("/etc/shadow");
    expect(readFileSync(join(base, "secret"), "utf8")).toBe("secret");
  });

  test("read-only takes no change", async () => {
    writeFileSync(join(source, "a"), "a");
    const kernel = serve({ readOnly: true });
    const a = await kernel.lookup("a");
    const handle = await kernel.open(a);
    const answers = [
      await kernel.ask(Opcode.open, a, u32(2), u32(0)),
      await kernel.ask(Opcode.open, a, u32(0o1000), u32(0)),
      await kernel.write(a, handle, "b"),
      await kernel.ask(Opcode.setattr, a, ...setattr(SetAttr.size)),
      await kernel.ask(Opcode.mkdir, ROOT_ID, u32(0o755), u32(0), "d"),
      await kernel.ask(Opcode.mknod, ROOT_ID, u32(0o100644), Buffer.alloc(12), "f"),
      await kernel.ask(Opcode.create, ROOT_ID, u32(2), u32(0o644), u32(0), u32(0), "f"),
      await kernel.ask(Opcode.symlink, ROOT_ID, "l", "a"),
      await kernel.ask(Opcode.link, ROOT_ID, a, "l"),
      await kernel.ask(Opcode.unlink, ROOT_ID, "a"),
      await kernel.ask(Opcode.rmdir, ROOT_ID, "a"),
      await kernel.ask(Opcode.rename, ROOT_ID, ROOT_ID, "a", "b"),
      await kernel.ask(Opcode.rename2, ROOT_ID, ROOT_ID, u32(1), u32(0), "a", "b"),
    ];
    expect(answers).toEqual(answers.map(() => Errno.EROFS));
    expect(readdirSync(source)).toEqual(["a"]);
    expect(readFileSync(join(source, "a"), "utf8")).toBe("a");
  });

  test("takes as much as its quota, also by a later daemon", async () => {
    const quotaBytes = 3 * 1024 * 1024;
    const kernel = serve({ quotaBytes });
    const { node, handle } = await kernel.create("f");
    const piece = Buffer.alloc(128 * 1024);
    let taken = 0;
    while (typeof (await kernel.write(node, handle, piece, taken)) !== "number") taken += piece.length;
    expect(taken).toBe(23 * piece.length); // the file itself counts too
    expect(await kernel.write(node, handle, piece)).toBe(Errno.EDQUOT);
    const later = serve({ quotaBytes });
    let more = 0;
    while (typeof (await later.write(node, handle, piece, more)) !== "number") more += piece.length;
    // What is not told to the journal is less than its step.
    expect(more).toBeLessThan(1024 * 1024);
  });

  test("has a bound for what is open, and closes nothing that is in use", async () => {
    const kernel = serve();
    const { node, handle } = await kernel.create("f");
    const big = Buffer.alloc(128 * 1024, "x");
    // Asked for at once, as a guest that does not wait would: the close comes while the write is under way.
    const [written] = await Promise.all([
      kernel.write(node, handle, big),
      kernel.ask(Opcode.release, node, handle, Buffer.alloc(16)),
      kernel.create("other"),
    ]);
    expect(written).toBeInstanceOf(Buffer);
    expect(statSync(join(source, "f")).size).toBe(big.length);
    expect(statSync(join(source, "other")).size).toBe(0);
    let answer: Buffer | number = 0;
    for (let i = 0; i <= MAX_HANDLES && answer !== Errno.ENFILE; i++)
      answer = await kernel.ask(Opcode.open, node, u32(0), u32(0));
    expect(answer).toBe(Errno.ENFILE);
  });

  test("goes on by another daemon: nodes and open files keep their meaning", async () => {
    mkdirSync(join(source, "d/e"), { recursive: true });
    const kernel = serve();
    const e = await kernel.walk("d/e");
    const { node, handle } = await kernel.create("f", e);
    await kernel.write(node, handle, "before ");
    const d = await kernel.lookup("d");
    expect(await kernel.ask(Opcode.rename, ROOT_ID, ROOT_ID, "d", "moved")).toEqual(Buffer.alloc(0));
    const gone = await kernel.create("gone", e);
    await kernel.ask(Opcode.unlink, e, "gone");

    const later = serve();
    await later.write(node, handle, "and after", 7);
    expect(readFileSync(join(source, "moved/e/f"), "utf8")).toBe("before and after");
    expect(await later.lookup("moved")).toBe(d);
    // What had no name any more is lost with the daemon that had it open.
    expect(await later.write(gone.node, gone.handle, "x")).toBe(Errno.ESTALE);
    // A number never comes to mean another file.
    rmSync(join(source, "moved/e/f"));
    writeFileSync(join(source, "keep-inode"), "");
    writeFileSync(join(source, "moved/e/f"), "another");
    const again = await later.lookup("f", e);
    if (again !== node) expect(await later.ask(Opcode.open, node, u32(0), u32(0))).toBe(Errno.ESTALE);
  });

  test("takes a repeated request for the one that it repeats", async () => {
    const kernel = serve();
    await kernel.ask(Opcode.mkdir, ROOT_ID, u32(0o755), u32(0), "d");
    await kernel.create("from");
    await kernel.ask(Opcode.rename, ROOT_ID, ROOT_ID, "from", "to");
    const mkdir = () => kernel.ask(Opcode.mkdir, ROOT_ID, u32(0o755), u32(0), "d");
    const rename = () => kernel.ask(Opcode.rename, ROOT_ID, ROOT_ID, "from", "to");
    const unlink = () => kernel.ask(Opcode.unlink, ROOT_ID, "gone");
    expect([await mkdir(), await rename(), await unlink()]).toEqual([
      Errno.EEXIST,
      Errno.ENOENT,
      Errno.ENOENT,
    ]);
    kernel.repeated = true;
    for (const answer of [await mkdir(), await rename(), await unlink()])
      expect(answer).toBeInstanceOf(Buffer);
  });

  test("renames without replacing, and exchanges nothing", async () => {
    const kernel = serve();
    await kernel.create("a");
    await kernel.create("b");
    mkdirSync(join(source, "d"));
    const rename = (flags: number, from: string, to: string) =>
      kernel.ask(Opcode.rename2, ROOT_ID, ROOT_ID, u32(flags), u32(0), from, to);
    expect(await rename(1, "a", "b")).toBe(Errno.EEXIST);
    expect(await rename(2, "a", "b")).toBe(Errno.EINVAL);
    expect(await rename(1, "a", "c")).toBeInstanceOf(Buffer);
    expect(await rename(1, "d", "b")).toBe(Errno.EEXIST);
    expect(await rename(1, "d", "d2")).toBeInstanceOf(Buffer);
    expect(readdirSync(source).sort()).toEqual(["b", "c", "d2"]);
  });

  test("lists a directory in pages", async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `file-${i}`);
    for (const name of names) writeFileSync(join(source, name), "");
    const kernel = serve();
    const handle = Number(nodeOf(await kernel.ask(Opcode.opendir, ROOT_ID, u32(0), u32(0))));
    const seen: string[] = [];
    for (let offset = 0; ; ) {
      const page = await kernel.ask(Opcode.readdir, ROOT_ID, handle, offset, u32(4096), Buffer.alloc(20));
      if (typeof page === "number") throw new Error(`errno ${page}`);
      expect(page.length).toBeLessThanOrEqual(4096);
      if (page.length === 0) break;
      for (let at = 0; at < page.length; ) {
        const length = page.readUInt32LE(at + 16);
        seen.push(page.toString("utf8", at + 24, at + 24 + length));
        offset = Number(page.readBigUInt64LE(at + 8));
        at += (24 + length + 7) & ~7;
      }
    }
    expect(seen.sort()).toEqual([".", "..", ...names].sort());
  });

  test("lists a directory with what its files are, and what is gone by its name alone", async () => {
    const names = Array.from({ length: 200 }, (_, i) => `file-${i}`);
    for (const name of names) writeFileSync(join(source, name), name);
    symlinkSync("../secret", join(source, "link"));
    const kernel = serve();
    const handle = Number(nodeOf(await kernel.ask(Opcode.opendir, ROOT_ID, u32(0), u32(0))));
    const seen = new Map<string, { node: number; size: number }>();
    let pages = 0;
    for (let offset = 0; ; pages++) {
      const body = [handle, offset, u32(20_000), Buffer.alloc(20)];
      const page = await kernel.ask(Opcode.readdirplus, ROOT_ID, ...body);
      if (typeof page === "number") throw new Error(`errno ${page}`);
      expect(page.length).toBeLessThanOrEqual(20_000);
      if (page.length === 0) break;
      for (let at = 0; at < page.length; ) {
        const length = page.readUInt32LE(at + 128 + 16);
        const name = page.toString("utf8", at + 152, at + 152 + length);
        seen.set(name, {
          node: Number(page.readBigUInt64LE(at)),
          size: Number(page.readBigUInt64LE(at + 48)),
        });
        offset = Number(page.readBigUInt64LE(at + 128 + 8));
        at += 128 + ((24 + length + 7) & ~7);
      }
      rmSync(join(source, "file-7"), { force: true });
      rmSync(join(source, "file-199"), { force: true });
    }
    expect(pages).toBeGreaterThan(2);
    expect([...seen.keys()].sort()).toEqual([".", "..", "link", ...names].sort());
    for (const name of [".", ".."]) expect(seen.get(name)).toEqual({ node: 0, size: 0 });
    expect(seen.get("link")!.size).toBe("../secret".length);
    for (const name of names.filter((name) => existsSync(join(source, name)))) {
      const { node, size } = seen.get(name)!;
      expect(size).toBe(name.length);
      const file = await kernel.open(node);
      expect(await kernel.read(node, file)).toBe(name);
      await kernel.ask(Opcode.release, node, file, Buffer.alloc(16));
      // It counts as looked up: the kernel forgets it once.
      await kernel.ask(Opcode.forget, node, 1);
      expect(await kernel.ask(Opcode.open, node, u32(0), u32(0))).toBe(Errno.ESTALE);
    }
  });

  test("answers anything with an errno, and leaves nothing outside", async () => {
    const kernel = serve();
    await kernel.create("a");
    let seed = 1;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return seed % below;
    };
    for (let i = 0; i < 20_000; i++) {
      const body = Buffer.from(Array.from({ length: random(80) }, () => (random(3) === 0 ? random(256) : 0)));
      if (random(2))
        body.write(["a\0b\0", "../x\0", "..\0", "a/b\0"][random(4)]!, random(body.length + 1) % 60);
      await kernel.ask(random(50), random(4), body);
    }
    expect(readdirSync(base).sort()).toEqual(["journal", "secret", "source"]);
    expect(existsSync("/x")).toBe(false);
  });

  test("a guest that looks up and forgets for ever does not fill the host's disk, read-only or not", async () => {
    for (const readOnly of [true, false]) {
      const name = "n".repeat(200);
      writeFileSync(join(source, name), "");
      const kernel = serve({ readOnly });
      for (let i = 0; i < 40_000; i++) await kernel.ask(Opcode.forget, await kernel.lookup(name), 1);
      expect(statSync(join(base, "journal")).size).toBeLessThan(5 * 1024 * 1024);
      expect(await kernel.lookup(name)).toBeGreaterThan(ROOT_ID);
    }
  });
});
