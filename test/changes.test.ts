import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Image, type Sandbox } from "../src/sdk/index.ts";
import { ByteReader } from "../src/tar/byte-reader.ts";
import { readTar } from "../src/tar/tar.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** What a sandbox has written comes back as it is: through the overlay of a real kernel. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("changes");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const sh = async (sandbox: Sandbox, script: string) => {
  const { exitCode, stdout, stderr } = await sandbox.exec("sh", ["-ec", script]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout;
};

interface Seen {
  type: string;
  text: string;
  mode: number;
  uid: number;
  link: string;
}

async function exported(sandbox: Sandbox): Promise<Map<string, Seen>> {
  const found = new Map<string, Seen>();
  for await (const entry of readTar(new ByteReader(await sandbox.export(), 2 ** 32))) {
    const parts = (await Array.fromAsync(entry.body())).map((piece) => Buffer.from(piece));
    const text = Buffer.concat(parts).toString("latin1");
    const { type, mode, uid, linkTarget: link } = entry;
    found.set(entry.path.replace(/\/$/, ""), { type, mode, uid, link, text });
  }
  return found;
}

const SCRIPT = `
  echo new > /root/new
  chmod 4711 /root/new
  rm /etc/os-release
  rm -r /home/user && mkdir /home/user && echo again > /home/user/file
  ln /root/new /root/same
  ln -s ../nowhere /root/link
  mkfifo /root/fifo
  mknod /root/null c 1 3
  chown 12345:54321 /usr/bin/busybox
  truncate -s 100M /root/sparse
  echo changed >> /etc/passwd
  echo mine > /etc/hosts`;

test("a sandbox is exported with what it has written, also after a restart", async () => {
  await using sandbox = await driver.create();
  await sh(sandbox, SCRIPT);
  const check = async () => {
    const seen = await exported(sandbox);
    const at = (path: string) => seen.get(path);
    expect(at("root/new")).toMatchObject({ type: "file", text: "new\n", mode: 0o4711 });
    expect(at("root/same")).toMatchObject({ type: "link", link: "root/new" });
    expect(at("root/link")).toMatchObject({ type: "symlink", link: "../nowhere" });
    expect(at("root/fifo")).toMatchObject({ type: "fifo" });
    expect(at("root/null")).toMatchObject({ type: "char" });
    expect(at("root/sparse")?.text.length).toBeLessThan(1_000_000);
    expect(at("etc/os-release")).toBeUndefined();
    expect(at("home/user/file")?.text).toBe("again\n");
    expect(at("usr/bin/busybox")).toMatchObject({ uid: 12345 });
    expect(at("etc/passwd")?.text).toMatch(/^root:.*changed\n$/s);
    // What the platform puts there is not the sandbox's; the image's own is.
    expect(at("etc/hosts")?.text).toBe("127.0.0.1\tlocalhost\n::1\tlocalhost\n");
    expect(at("etc/hostname")).toBeUndefined();
    expect(at("proc")).toMatchObject({ type: "directory" });
    expect([...seen.keys()].filter((path) => path.startsWith("proc/") || path.startsWith("dev/"))).toEqual(
      [],
    );
  };
  await check();
  await sandbox.stop();
  await sandbox.start();
  await check();
});

test("an export becomes an image that runs", async () => {
  await using sandbox = await driver.create();
  await sh(sandbox, SCRIPT);
  const config = JSON.parse(
    await readFile(join(import.meta.dirname, "../build/images/msb-base.config.json"), "utf8"),
  );
  await Image.import("test/exported", await sandbox.export(), { connection: driver.connection, config });
  await using again = await driver.create({ image: "test/exported" });
  expect(await sh(again, "cat /root/same /home/user/file; ls /etc; stat -c %u /bin/busybox")).toBe(
    "new\nagain\ngroup\nhostname\nhosts\nmachine-id\npasswd\nresolv.conf\nshadow\n0\n".replace(
      /\n0\n$/,
      "\n12345\n",
    ),
  );
});

test("many files come back in one stream, and nothing of it is in the log", async () => {
  await using sandbox = await driver.create({ memoryMiB: 512 });
  await sh(
    sandbox,
    "mkdir /many && cd /many && i=0; while [ $i -lt 2000 ]; do echo $i > f$i; i=$((i+1)); done",
  );
  await sh(sandbox, "dd if=/dev/urandom of=/many/big bs=1M count=40 status=none");
  const seen = await exported(sandbox);
  expect([...seen.keys()].filter((path) => path.startsWith("many/f"))).toHaveLength(2000);
  expect(seen.get("many/f1999")?.text).toBe("1999\n");
  expect(seen.get("many/big")?.text.length).toBe(40 * 2 ** 20);
  const log = await Array.fromAsync(sandbox.logs());
  expect(JSON.stringify(log).length).toBeLessThan(1000);
});

test("who stops reading ends it, and the sandbox runs on", async () => {
  await using sandbox = await driver.create();
  await sh(sandbox, "dd if=/dev/zero of=/big bs=1M count=30 status=none");
  for await (const _ of await sandbox.export()) break;
  expect(await sh(sandbox, "pidof msb-changes || echo none")).toBe("none\n");
});

test("only a running sandbox can be exported", async () => {
  await using sandbox = await driver.create();
  await sandbox.stop();
  await expect(sandbox.export()).rejects.toMatchObject({ code: "invalid_state" });
});
