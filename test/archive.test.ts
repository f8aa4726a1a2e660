import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Trees of files in and out of a real VM as tars, with the host's own tar at the other end. */

let driver: SandboxDriver;
let host: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("archive");
  host = await mkdtemp(join(tmpdir(), "msb-archive-"));
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  if (host !== undefined) await rm(host, { recursive: true, force: true });
});

const sh = async (sandbox: Sandbox, script: string) => {
  const { exitCode, stdout, stderr } = await sandbox.exec("sh", ["-ec", script]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout;
};

/** What the host's tar makes of a folder's contents. */
function pack(folder: string, ...options: string[]): Readable {
  const child = spawn("tar", ["-c", "--format=posix", ...options, "-C", folder, "."], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return child.stdout;
}

async function unpack(tar: Readable, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const child = spawn("tar", ["-xp", "--numeric-owner", "-C", folder], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  const closed = once(child, "close");
  await pipeline(tar, child.stdin);
  expect(await closed).toEqual([0, null]);
}

const LIST = "find . -type f -exec sha256sum {} + | sort -k 2; find . -type l | sort";

async function listOf(folder: string): Promise<string> {
  const child = spawn("sh", ["-ec", LIST], { cwd: folder, env: { ...process.env, LC_ALL: "C" } });
  return Buffer.concat(await child.stdout.toArray()).toString();
}

test("a tree goes in and comes out as it was, holes stay holes", async () => {
  const source = join(host, "tree");
  await mkdir(join(source, "sub/deep"), { recursive: true });
  await writeFile(join(source, "sub/file"), "text", { mode: 0o640 });
  await writeFile(join(source, `sub/deep/${"n".repeat(200)} é`), "long");
  await symlink("../nowhere", join(source, "sub/link"));
  await writeFile(join(source, "sparse"), "x");
  await truncate(join(source, "sparse"), 200 * 2 ** 20);
  await utimes(join(source, "sub"), 1_600_000_000, 1_600_000_000.25);

  await using sandbox = await driver.create();
  await sh(sandbox, "mkdir /root/to");
  await sandbox.files.extract("/root/to", pack(source, "--sparse"));
  expect(
    await sh(sandbox, "cd /root/to; stat -c '%a %u:%g %Y' sub sub/file; readlink sub/link; cat sub/deep/*"),
  ).toBe(
    `755 0:0 1600000000\n640 0:0 ${Math.floor((await lstat(join(source, "sub/file"))).mtimeMs / 1000)}\n../nowhere\nlong`,
  );
  const inside = await sandbox.files.lstat("/root/to/sparse");
  expect(inside.size).toBe(200 * 2 ** 20);
  expect(inside.diskBytes).toBeLessThan(2 ** 20);

  await unpack(await sandbox.files.archive("/root/to"), join(host, "back"));
  expect(await listOf(join(host, "back/to"))).toBe(await listOf(source));
  expect((await lstat(join(host, "back/to/sparse"))).blocks * 512).toBeLessThan(2 ** 20);
  expect((await lstat(join(host, "back/to/sub"))).mtimeMs).toBe(1_600_000_000_250);
  // The contents alone, and a file alone.
  await unpack(await sandbox.files.archive("/root/to/sub/."), join(host, "contents"));
  expect((await readdir(join(host, "contents"))).sort()).toEqual(["deep", "file", "link"]);
  await unpack(await sandbox.files.archive("/root/to/sub/file"), join(host, "one"));
  expect(await readFile(join(host, "one/file"), "utf8")).toBe("text");
});

test("owners are the tar's only when they are asked for", async () => {
  await using sandbox = await driver.create();
  await sh(
    sandbox,
    "mkdir /root/a; cd /root/a; echo x > f; chown 1000:1001 f; chmod 4755 f; mkdir /root/b /root/c /root/d",
  );
  const tar = Buffer.concat(await (await sandbox.files.archive("/root/a/f")).toArray());
  await sandbox.files.extract("/root/b", tar);
  await sandbox.files.extract("/root/c", tar, { keepOwners: true });
  await sandbox.files.extract("/root/d", tar, { uid: 7, gid: 8 });
  expect(await sh(sandbox, "stat -c '%u:%g %a' /root/?/f")).toBe(
    "1000:1001 4755\n0:0 4755\n1000:1001 4755\n7:8 4755\n",
  );
});

test("a program that runs is replaced without disturbing it", async () => {
  await using sandbox = await driver.create();
  await sh(sandbox, "mkdir /root/a /root/b; cp /bin/busybox /root/a/sleep; cp /bin/busybox /root/b/sleep");
  await sh(sandbox, "/root/b/sleep 1000 > /dev/null 2>&1 &");
  await sandbox.files.extract("/root/b", await sandbox.files.archive("/root/a/sleep"));
  expect(await sh(sandbox, "pidof sleep | wc -w")).toBe("1\n");
});

test("what cannot be done is said, with its code, and breaks no sandbox", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  await sh(
    sandbox,
    "mkdir -p /root/a/x /root/b; echo 1 > /root/a/f; echo 2 > /root/b/x; mkdir /root/b/f; ln -s /etc /root/b/l",
  );
  const refused = (code: string, words: string) => ({ code, message: expect.stringContaining(words) });
  await expect(files.archive("/root/none")).rejects.toMatchObject(refused("not_found", "/root/none"));
  const one = async (path: string) => Buffer.concat(await (await files.archive(path)).toArray());
  await expect(files.extract("/root/none", await one("/root/a"))).rejects.toMatchObject(
    refused("not_found", "/root/none"),
  );
  await expect(files.extract("/root/a/f", await one("/root/a"))).rejects.toMatchObject(
    refused("invalid_argument", "/root/a/f"),
  );
  await expect(files.extract("/root/b", await one("/root/a/f"))).rejects.toMatchObject(
    refused("already_exists", "f"),
  );
  await expect(files.extract("/root/b", await one("/root/a/x"))).rejects.toMatchObject(
    refused("already_exists", "x"),
  );
  await expect(files.extract("/root/b", Buffer.alloc(100_000, 7))).rejects.toMatchObject(
    refused("invalid_argument", "no tar"),
  );
  await expect(files.extract("/root/b", (await one("/root/a")).subarray(0, 600))).rejects.toMatchObject(
    refused("invalid_argument", "ends early"),
  );
  // Never through a link, and a tar that breaks off is no end.
  await sh(sandbox, "mkdir -p /root/c/l; echo evil > /root/c/l/passwd");
  await expect(files.extract("/root/b", await one("/root/c/."))).rejects.toMatchObject(
    refused("already_exists", "l"),
  );
  expect(await sh(sandbox, "grep -c evil /etc/passwd || true")).toBe("0\n");
  const half = (async function* () {
    yield Buffer.alloc(0);
    throw new Error("no more");
  })();
  await expect(files.extract("/root/b", half)).rejects.toThrow("no more");
  // Who stops reading ends it.
  await sh(sandbox, "dd if=/dev/zero of=/root/big bs=1M count=30 status=none");
  for await (const _ of await files.archive("/root/big")) break;
  await until(
    async () => (await sh(sandbox, "pidof msb-archive msb-extract || echo none")) === "none\n",
    "it has ended",
  );
  await sandbox.stop();
  await expect(files.archive("/root")).rejects.toMatchObject({ code: "invalid_state" });
});

test("200 MiB each way go in bounded memory of the daemon", async () => {
  await using sandbox = await driver.create({ memoryMiB: 512 });
  const pid = await driver.daemonPid();
  await writeFile(`/proc/${pid}/clear_refs`, "5"); // VmHWM begins anew
  const peak = async () =>
    Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
  const before = await peak();
  const size = 200 * 2 ** 20;
  const piece = Buffer.alloc(2 ** 20, 1);
  const head = await headOf("big", size);
  const body = async function* () {
    yield head;
    for (let at = 0; at < size; at += piece.length) yield piece;
    yield Buffer.alloc(1024);
  };
  await sandbox.files.extract("/root", Readable.from(body(), { objectMode: false }));
  expect((await sandbox.files.stat("/root/big")).size).toBe(size);
  let bytes = 0;
  for await (const chunk of await sandbox.files.archive("/root/big")) bytes += (chunk as Buffer).length;
  expect(bytes).toBe(size + 512 + 1024);
  expect((await peak()) - before).toBeLessThan(120);
}, 600_000);

/** The head of a file of that size, as the host's tar writes it. */
async function headOf(name: string, size: number): Promise<Buffer> {
  const folder = await mkdtemp(join(host, "head-"));
  await writeFile(join(folder, name), "");
  await truncate(join(folder, name), size);
  const child = spawn("tar", ["-c", "--format=ustar", "--mtime=@0", "-C", folder, name], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [first] = (await once(child.stdout, "data")) as [Buffer];
  child.stdout.destroy();
  return first.subarray(0, 512);
}
