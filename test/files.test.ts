import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pathBytes, type Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Files inside a sandbox, through the agent of a real VM. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("files");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const sh = async (sandbox: Sandbox, script: string) => {
  const { exitCode, stdout, stderr } = await sandbox.exec("sh", ["-ec", script]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout;
};

const refused = (code: string, path: string) => ({ code, message: expect.stringContaining(path) });

test("a file is written, read in part, appended to, replaced and cut", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  expect(await files.write("/root/a", "hello\n")).toBe(6);
  expect(await sh(sandbox, "cat /root/a; stat -c '%a %u:%g' /root/a")).toBe("hello\n644 0:0\n");
  expect(await files.append("/root/a", "world\n")).toBe(6);
  expect(await files.readText("/root/a")).toBe("hello\nworld\n");
  expect(await files.readText("/root/a", { offset: 6, length: 3 })).toBe("wor");
  await files.write("/root/a", "W", { offset: 6 });
  expect(await files.readText("/root/a")).toBe("hello\nWorld\n");
  await files.truncate("/root/a", 5);
  expect(await files.readText("/root/a")).toBe("hello");
  await files.chmod("/root/a", 0o640);
  await files.chown("/root/a", "1000:1000");
  await files.write("/root/a", "new", { atomic: true, sync: true });
  expect(await sh(sandbox, "cat /root/a; stat -c ' %a %u:%g' /root/a; ls -A /root")).toBe(
    "new 640 1000:1000\na\n",
  );
  await files.write("/root/b", "", { mode: 0o4711, owner: "root:12" });
  expect(await sh(sandbox, "stat -c '%a %u:%g %s' /root/b")).toBe("4711 0:12 0\n");
  await expect(files.write("/root/b", "", { exclusive: true })).rejects.toMatchObject(
    refused("already_exists", "/root/b"),
  );
  await expect(files.write("/root/c", "", { create: false })).rejects.toMatchObject(
    refused("not_found", "/root/c"),
  );
  await expect(files.read("/root")).rejects.toMatchObject(refused("invalid_argument", "/root"));
  await sh(sandbox, "mkfifo /root/fifo");
  await expect(files.read("/root/fifo")).rejects.toMatchObject(refused("invalid_argument", "a fifo"));
  // What the kernel makes up has no size, and is read to its end all the same.
  expect(await files.readText("/proc/version")).toMatch(/^Linux version /);
});

test("what is written in part leaves a file that is replaced as it was", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  await files.write("/root/a", "old");
  const half = Readable.from(
    (async function* () {
      yield Buffer.alloc(300_000);
      throw new Error("no more");
    })(),
    { objectMode: false },
  );
  await expect(files.write("/root/a", half, { atomic: true })).rejects.toThrow("no more");
  await until(async () => (await sh(sandbox, "ls -A /root")) === "a\n", "the half is gone");
  expect(await files.readText("/root/a")).toBe("old");
});

test("folders, links, names and times", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  await files.mkdir("/root/x/y/z", { parents: true });
  await files.mkdir("/root/x/y/z", { parents: true });
  await expect(files.mkdir("/root/x")).rejects.toMatchObject(refused("already_exists", "/root/x"));
  await files.write("/root/x/y/file", "text");
  await files.symlink("y/file", "/root/x/link");
  expect(await files.readlink("/root/x/link")).toBe("y/file");
  expect(await files.stat("/root/x/link")).toMatchObject({ type: "file", size: 4, mode: 0o644, links: 1 });
  expect(await files.lstat("/root/x/link")).toMatchObject({ type: "symlink", target: "y/file" });
  expect([await files.exists("/root/x/link"), await files.exists("/root/none")]).toEqual([true, false]);
  await files.utimes("/root/x/y/file", { mtimeMs: 1_234_567_890_123.5, atimeMs: -1500 });
  const { mtimeMs, atimeMs } = await files.stat("/root/x/y/file");
  expect([mtimeMs, atimeMs]).toEqual([1_234_567_890_123.5, -1500]);
  await files.copy("/root/x", "/root/copy", { recursive: true, preserve: true });
  expect(await files.stat("/root/copy/y/file")).toMatchObject({ mtimeMs, size: 4 });
  expect(await files.readlink("/root/copy/link")).toBe("y/file");
  await expect(files.copy("/root/x", "/root/x/inside", { recursive: true })).rejects.toMatchObject(
    refused("invalid_argument", "into itself"),
  );
  await files.rename("/root/copy", "/root/moved");
  await expect(files.remove("/root/moved")).rejects.toMatchObject(refused("invalid_state", "/root/moved"));
  // What a link in it leads to stays.
  await files.symlink("/root/x", "/root/moved/out");
  await files.remove("/root/moved", { recursive: true });
  await files.remove("/root/moved", { force: true });
  await expect(files.remove("/root/moved")).rejects.toMatchObject(refused("not_found", "/root/moved"));
  expect(await files.readText("/root/x/y/file")).toBe("text");
  const usage = await files.diskUsage("/root/x");
  expect(usage).toMatchObject({ apparentBytes: 4, entries: 5 });
  expect(usage.diskBytes).toBeGreaterThan(0);
});

test("a name may be any bytes", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  const name = Buffer.from("/root/\xff\xfe\n", "latin1");
  await files.write(name, "raw");
  expect(await sh(sandbox, "cd /root; printf %s * | od -An -tx1")).toBe(" ff fe 0a\n");
  const [entry] = await Array.fromAsync(files.list("/root"));
  expect(pathBytes(entry!.path).toString("latin1")).toBe("\xff\xfe\n");
  expect(await files.readText(name)).toBe("raw");
  await files.symlink("base64:none", "/root/link");
  expect(pathBytes(await files.readlink("/root/link")).toString()).toBe("base64:none");
});

test("a listing of many is paged, filtered and bounded in depth", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  await sh(
    sandbox,
    "mkdir -p /many/a/b/c && cd /many/a && i=0; while [ $i -lt 3000 ]; do : > f$i; i=$((i+1)); done; : > b/c/x.txt; ln -s / b/out",
  );
  const paths = async (options: Parameters<typeof files.list>[1]) =>
    (await Array.fromAsync(files.list("/many", options))).map(({ path }) => path).sort();
  expect(await paths({})).toEqual(["a"]);
  expect(await paths({ recursive: true, depth: 2 })).toHaveLength(3002);
  const all = await paths({ recursive: true });
  expect(all).toHaveLength(3005);
  expect(new Set(all).size).toBe(3005);
  expect(all).toContain("a/b/c/x.txt");
  expect(await paths({ recursive: true, glob: "*.txt" })).toEqual(["a/b/c/x.txt"]);
  expect(await paths({ recursive: true, glob: "**/f299[89]" })).toEqual(["a/f2998", "a/f2999"]);
  for await (const _ of files.list("/many", { recursive: true })) break;
  await expect(Array.fromAsync(files.list("/none"))).rejects.toMatchObject(refused("not_found", "/none"));
});

test("a user may do what the user may do, and no more", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  const user = "1000";
  await files.mkdir("/home/me", { parents: true });
  await files.chown("/home/me", "1000:1000");
  await files.write("/home/me/mine", "mine", { user });
  expect(await files.stat("/home/me/mine")).toMatchObject({ uid: 1000 });
  await files.write("/root/secret", "secret", { mode: 0o600 });
  const denied = { code: "permission_denied" };
  await files.chmod("/root", 0o755);
  await expect(files.read("/root/secret", { user })).rejects.toMatchObject(refused(denied.code, "secret"));
  await expect(files.write("/etc/passwd", "x", { user })).rejects.toMatchObject(denied);
  await expect(files.remove("/root/secret", { user })).rejects.toMatchObject(denied);
  await expect(files.chown("/home/me/mine", "0", { user })).rejects.toMatchObject(denied);
  await expect(files.chmod("/root/secret", 0o777, { user })).rejects.toMatchObject(denied);
  // And the next one is root again.
  expect(await files.readText("/root/secret")).toBe("secret");
});

test("a process that serves the files and was killed is started again", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  await files.write("/root/a", "one");
  const first = await sh(sandbox, "pidof msb-files");
  await sh(sandbox, "kill -9 $(pidof msb-files)");
  await until(
    () =>
      files.readText("/root/a").then(
        (text) => text === "one",
        (error) => {
          expect(error).toMatchObject({ code: "unavailable" });
          return false;
        },
      ),
    "it serves again",
  );
  const second = await sh(sandbox, "pidof msb-files");
  expect(second).not.toBe(first);
  expect(second.trim().split(" ")).toHaveLength(1);
  await driver.killDaemon();
  expect(await files.readText("/root/a")).toBe("one");
  await sandbox.stop();
  await expect(files.readText("/root/a")).rejects.toMatchObject({ code: "invalid_state" });
  await sandbox.start();
  expect(await files.readText("/root/a")).toBe("one");
});
