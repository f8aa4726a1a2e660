import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { folderNames } from "./folder-names.ts";
import { packWithTar } from "./host-tar.ts";

const isRoot = process.getuid?.() === 0;
const path = process.env.PATH;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "msb-tar-"));
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

const pack = (owners: "kept" | "root" = "kept"): Promise<Readable> =>
  packWithTar(folderNames(folder), { folder, owners });

const list = (input: Buffer, ...args: string[]) =>
  execFileSync("tar", ["-tv", "--numeric-owner", "--quoting-style=c", "-f", "-", ...args], {
    input,
    encoding: "latin1",
  });

test("names that are not UTF-8 or look like options, links, hard links, modes and holes come through", async () => {
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe])]), "bytes");
  writeFileSync(join(folder, "-C"), "option");
  writeFileSync(join(folder, "line\nbreak"), "");
  writeFileSync(join(folder, "one"), "same");
  linkSync(join(folder, "one"), join(folder, "two"));
  symlinkSync("nowhere", join(folder, "link"));
  chmodSync(join(folder, "one"), 0o4751);
  writeFileSync(join(folder, "hole"), "");
  truncateSync(join(folder, "hole"), 1024 ** 3);
  const tar = await buffer(await pack());
  expect(tar.length).toBeLessThan(100_000);
  const listing = list(tar);
  expect(listing).toContain('"./\\377\\376"');
  expect(listing).toContain('"./-C"');
  expect(listing).toContain('"./line\\nbreak"');
  expect(listing).toMatch(/^-rwsr-x--x .* "\.\/one"$/m);
  expect(listing).toMatch(/^hrwsr-x--x .* "\.\/two" link to "\.\/one"$/m);
  expect(listing).toContain('"./link" -> "nowhere"');
  expect(listing).toMatch(/ 1073741824 .* "\.\/hole"/);
});

test.runIf(isRoot)("owners and extended attributes are kept, or all is root's", async () => {
  writeFileSync(join(folder, "file"), "");
  chownSync(join(folder, "file"), 1234, 3_000_000);
  const hasAttribute = trySetAttribute(join(folder, "file"));
  const kept = await buffer(await pack());
  expect(list(kept)).toContain(" 1234/3000000 ");
  if (hasAttribute) expect(kept.includes("SCHILY.xattr.user.colour=blue")).toBe(true);
  const asRoot = await buffer(await pack("root"));
  expect(list(asRoot)).not.toContain("1234");
  expect(asRoot.includes("SCHILY.xattr")).toBe(false);
});

function trySetAttribute(file: string): boolean {
  try {
    execFileSync("setfattr", ["-n", "user.colour", "-v", "blue", file], { stdio: "ignore" });
    return true;
  } catch {
    return false; // neither the program nor the file system is here for certain
  }
}

test("a socket is left out", async () => {
  const server = createServer().listen(join(folder, "socket"));
  await new Promise((resolve) => server.once("listening", resolve));
  writeFileSync(join(folder, "file"), "");
  const listing = list(await buffer(await pack()));
  server.close();
  expect(listing).toContain("./file");
  expect(listing).not.toContain("socket");
});

test("a file that is gone before it is read fails the stream, with its name", async () => {
  async function* names() {
    yield Buffer.from("./was-here");
  }
  const tar = await packWithTar(names(), { folder, owners: "kept" });
  await expect(buffer(tar)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(/was-here: .*No such file/),
  });
});

test("a folder that cannot be read fails the stream, with its path", async () => {
  const tar = await packWithTar(folderNames(join(folder, "gone")), { folder, owners: "kept" });
  await expect(buffer(tar)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(`cannot read the folder ${join(folder, "gone")}: ENOENT`),
  });
});

test("a machine without tar says so", async () => {
  process.env.PATH = folder;
  await expect(pack()).rejects.toMatchObject({ code: "unavailable", hint: "apt install tar" });
});

test("a tar that cannot do it is refused", async () => {
  writeFileSync(join(folder, "tar"), "#!/bin/sh\necho 'tar (busybox) 1.36'\n", { mode: 0o755 });
  process.env.PATH = `${folder}:${path}`;
  await expect(pack()).rejects.toMatchObject({
    message: expect.stringContaining("neither GNU tar nor bsdtar"),
  });
});

test("a stream that is destroyed ends tar", async () => {
  mkdirSync(join(folder, "many"));
  writeFileSync(join(folder, "large"), Buffer.alloc(50_000_000, "x"));
  const tar = await pack();
  await new Promise((resolve) => tar.once("readable", resolve));
  tar.destroy();
  const running = () =>
    execFileSync("ps", ["-eo", "args"], { encoding: "utf8" }).includes(`--directory=${folder}`);
  const deadline = performance.now() + 10_000;
  while (running()) {
    expect(performance.now()).toBeLessThan(deadline);
    await new Promise(setImmediate);
  }
});
