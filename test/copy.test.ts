import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Files that go in and come out again: by msb cp, and by the SDK that it stands on. */
describe("msb cp", () => {
  let driver: SandboxDriver;
  let sandbox: Sandbox;
  let base: string;
  beforeAll(async () => {
    driver = await SandboxDriver.open("copy");
    sandbox = await driver.create({ name: "box" });
    base = mkdtempSync(join(tmpdir(), "msb-copy-"));
  });
  afterAll(async () => {
    await driver?.[Symbol.asyncDispose]();
    if (base !== undefined) rmSync(base, { recursive: true, force: true });
  });

  const cp = async (...args: string[]) => {
    const ran = await driver.msb(["cp", ...args]);
    expect(ran).toMatchObject({ code: 0, stdout: "", stderr: "" });
  };
  const here = (name: string) => join(base, name);
  const inside = async (script: string) => (await sandbox.shell(script)).stdout;

  test("follows docker cp's rules, both ways", async () => {
    mkdirSync(here("rules/src/sub"), { recursive: true });
    writeFileSync(here("rules/src/sub/a"), "a\n");
    writeFileSync(here("rules/file"), "file\n");
    await cp(here("rules/file"), "box:/tmp");
    await cp(here("rules/file"), "box:/tmp/named");
    await cp(here("rules/src"), "box:/tmp/new");
    await cp(here("rules/src"), "box:/tmp/new");
    await cp(`${here("rules/src")}/.`, "box:/tmp/new/sub");
    expect(await inside("cd /tmp; find . -type f | sort")).toBe(
      ["./file", "./named", "./new/src/sub/a", "./new/sub/a", "./new/sub/sub/a", ""].join("\n"),
    );
    await cp("box:/tmp/file", here("rules/back"));
    await cp("box:/tmp/new", here("rules"));
    await cp("box:/tmp/new/.", here("rules/contents"));
    await cp("box:tmp/named", `${here("rules")}/`);
    expect(readFileSync(here("rules/back"), "utf8")).toBe("file\n");
    expect(readFileSync(here("rules/named"), "utf8")).toBe("file\n");
    expect(readdirSync(here("rules/new")).sort()).toEqual(["src", "sub"]);
    expect(readdirSync(here("rules/contents")).sort()).toEqual(["src", "sub"]);
  });

  test.each<[string, string[], RegExp]>([
    [
      "a source that is not there",
      ["/no/such", "box:/tmp"],
      /^msb: there is no '\/no\/such' on this machine\n$/,
    ],
    ["one in the sandbox", ["box:/no/such", "."], /^msb: .*\/no\/such/],
    ["a destination whose folder is not there", ["/etc/hostname", "box:/no/such/name"], /^msb: .*\/no\/such/],
    ["a folder that is to be there", ["/etc/hostname", "box:/no/"], /there is no folder '\/no\/'/],
    ["a folder over a file", ["/etc/apt", "box:/etc/passwd"], /'\/etc\/passwd' is a file/],
    ["no sandbox", ["a", "b"], /neither end is a sandbox\nhint: .*NAME:PATH/],
    ["two", ["box:/a", "other:/b"], /both ends are sandboxes\nhint: /],
    ["no such sandbox", ["/etc/hostname", "nobody:/tmp"], /there is no sandbox 'nobody'/],
  ])("says what is wrong: %s", async (_, args, message) => {
    expect(await driver.msb(["cp", ...args])).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(message),
    });
  });

  test("copies a tree of 20,000 files in and out, and it is the same", async () => {
    const tree = here("tree");
    for (let folder = 0; folder < 200; folder++) {
      const path = join(tree, `d${folder % 20}`, `e${folder}`);
      mkdirSync(path, { recursive: true });
      for (let i = 0; i < 100; i++) writeFileSync(join(path, `f${i}`), `${folder} ${i}`.repeat(i));
    }
    writeFileSync(Buffer.from(`${tree}/\xff\xfe name\n`, "latin1"), "no UTF-8");
    writeFileSync(join(tree, "-rf"), "like an option", { mode: 0o600 });
    writeFileSync(join(tree, "n".repeat(255)), "long");
    linkSync(join(tree, "-rf"), join(tree, "hard"));
    symlinkSync("../outside", join(tree, "soft"));
    symlinkSync("/etc", join(tree, "absolute"));
    execFileSync("truncate", ["-s", "1G", join(tree, "sparse")]);
    chmodSync(join(tree, "d1"), 0o700);
    utimesSync(join(tree, "d1"), 1, 1_000_000_000.25);
    const { lines: expected, times } = listing(tree);
    expect(expected.length).toBeGreaterThan(20_000);

    await cp(tree, "box:/root/tree");
    expect(await inside("cd /root/tree && find . -print0 | tr -cd '\\0' | wc -c")).toBe(
      `${expected.length}\n`,
    );
    expect(await inside("du -k /root/tree/sparse | cut -f1")).toBe("0\n");
    await cp("box:/root/tree", here("again"));
    const again = listing(here("again"));
    expect(again.lines).toEqual(expected);
    // Node sets times as seconds in a double, which leaves 240 ns of these.
    expect(times.filter((time, i) => Math.abs(Number(time - again.times[i]!)) > 1_000)).toEqual([]);
    expect(statSync(here("again/sparse")).blocks).toBe(0);
    rmSync(tree, { recursive: true });
  }, 600_000);

  test("gives and takes a tar, as - says", async () => {
    await inside("mkdir -p /srv/a && echo one > /srv/a/one");
    const out = driver.startMsb(["cp", "box:/srv/a", "-"]);
    const listed = execFileSync("tar", ["-t"], { input: await bytesOf(out.stdout!) }).toString();
    expect(listed).toBe("a/\na/one\n");
    mkdirSync(here("tar"));
    writeFileSync(here("tar/two"), "two\n");
    const tar = execFileSync("tar", ["-C", here("tar"), "-c", "two"]);
    expect(await driver.msb(["cp", "-", "box:/srv"], { stdin: tar })).toMatchObject({ code: 0, stderr: "" });
    expect(await inside("cat /srv/two")).toBe("two\n");
    expect(await driver.msb(["cp", "-", "box:/srv"], { stdin: "no tar ".repeat(1_000) })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^msb: /),
    });
  });

  test("does not let a sandbox out of the destination", async () => {
    // Devices, a setuid program, a link that leads out and what pretends to be in it.
    await inside(
      "mkdir -p /root/evil && cd /root/evil && mknod device c 1 3 && mkfifo fifo && cp /bin/busybox suid && chmod 4755 suid && ln -s ../../.. out",
    );
    mkdirSync(here("evil"));
    const ran = await driver.msb(["cp", "box:/root/evil", here("evil")]);
    expect(ran).toMatchObject({ code: 0, stderr: expect.stringMatching(/left out.*device.*fifo/) });
    expect(readdirSync(here("evil/evil")).sort()).toEqual(["out", "suid"]);
    expect(lstatSync(here("evil/evil/suid")).mode & 0o7777).toBe(0o755);
    expect(readlinkSync(here("evil/evil/out"))).toBe("../../..");
  });

  test("owns what it copies, or keeps the owners", async () => {
    await inside("echo x > /root/owned && chown 1234:567 /root/owned");
    await cp("box:/root/owned", here("mine"));
    expect(statSync(here("mine")).uid).toBe(process.getuid!());
    await cp(here("mine"), "box:/root/roots");
    expect(await inside("stat -c %u:%g /root/roots")).toBe("0:0\n");
    if (process.getuid!() !== 0) return;
    await cp("-a", "box:/root/owned", here("kept"));
    expect(statSync(here("kept"))).toMatchObject({ uid: 1234, gid: 567 });
    await cp("-a", here("kept"), "box:/root/again");
    expect(await inside("stat -c %u:%g /root/again")).toBe("1234:567\n");
  });

  test("of a sandbox that does not run is an error", async () => {
    const other = await driver.create({ name: "stopped" });
    await other.stop();
    expect(await driver.msb(["cp", "stopped:/etc/passwd", here("no")])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/'stopped' is stopped: .*\nhint: .*msb start stopped/),
    });
  });
});

/** All that a copy must keep of a tree, an entry a line; names as their bytes. */
function listing(root: string): { lines: string[]; times: bigint[] } {
  const lines: string[] = [];
  const times: bigint[] = [];
  const links = new Map<bigint, string>();
  const walk = (path: Buffer, name: string) => {
    const { mode, size, mtimeNs, ino, nlink } = lstatSync(path, { bigint: true });
    const text = path.toString("latin1");
    const kind = Number(mode) & 0o170000;
    const line = [name, mode.toString(8)];
    times.push(mtimeNs);
    if (kind === 0o100000) {
      if (nlink > 1n && links.has(ino)) line.push(`= ${links.get(ino)}`);
      links.set(ino, name);
      line.push(
        `${size}`,
        size > 1e8 ? "large" : createHash("sha1").update(readFileSync(path)).digest("hex"),
      );
    }
    if (kind === 0o120000) line.push(readlinkSync(path));
    lines.push(line.join(" "));
    if (kind !== 0o040000) return;
    for (const child of readdirSync(path, { encoding: "latin1" }).sort())
      walk(Buffer.from(`${text}/${child}`, "latin1"), `${name}/${child}`);
  };
  walk(Buffer.from(root), "");
  return { lines, times };
}

async function bytesOf(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}
