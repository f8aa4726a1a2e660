import { execFile } from "node:child_process";
import {
  appendFile,
  link,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { PcapWriter } from "./pcap-writer.ts";

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "msb-pcap-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

test("frames are in the file, with the time they came", async () => {
  const path = join(await folder(), "a.pcap");
  const before = Date.now();
  const writer = await PcapWriter.open(path, { maxBytes: 1e6 });
  writer.frame([Buffer.from("ab"), Buffer.from("c")]);
  writer.frame([Buffer.from("de")]);
  await writer[Symbol.asyncDispose]();
  const file = await readFile(path);
  expect(file.subarray(0, 24).toString("hex")).toBe("4d3cb2a1020004000000000000000000" + "0000040001000000");
  expect(file.subarray(32, 43).toString("hex")).toBe("0300000003000000616263");
  expect(file.subarray(51).toString("hex")).toBe("02000000020000006465");
  const milliseconds = file.readUInt32LE(24) * 1000 + file.readUInt32LE(28) / 1e6;
  expect(Math.abs(milliseconds - before)).toBeLessThan(3_600_000);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("the file is bounded, and what is left out is counted", async () => {
  const path = join(await folder(), "a.pcap");
  const writer = await PcapWriter.open(path, { maxBytes: 24 + 3 * 116 });
  for (let i = 0; i < 10; i++) writer.frame([new Uint8Array(100)]);
  await writer[Symbol.asyncDispose]();
  expect(writer.left).toBe(7);
  expect((await stat(path)).size).toBe(24 + 3 * 116);
});

test("what waits for the disk is bounded too", async () => {
  const writer = await PcapWriter.open(join(await folder(), "a.pcap"), { maxBytes: 1e9 });
  const frame = new Uint8Array(1024 * 1024);
  for (let i = 0; i < 10; i++) writer.frame([frame]);
  expect(writer.left).toBe(3);
  await writer[Symbol.asyncDispose]();
});

test("its end is told once", async () => {
  const reasons: string[] = [];
  const path = join(await folder(), "a.pcap");
  const writer = await PcapWriter.open(path, { maxBytes: 100, ended: (reason) => reasons.push(reason) });
  for (let i = 0; i < 3; i++) writer.frame([new Uint8Array(60)]);
  writer.frame([new Uint8Array(1)]);
  await writer[Symbol.asyncDispose]();
  expect(reasons).toEqual(["it has its 100 bytes"]);
  expect((await stat(path)).size).toBe(100);
});

const record = (path: string) => readFile(path).then((bytes) => bytes.subarray(24).length);

test("a file is replaced, or gone on with behind its last whole record", async () => {
  const path = join(await folder(), "a.pcap");
  const write = async (goOn: boolean) => {
    await using writer = await PcapWriter.open(path, { maxBytes: 1e6, goOn });
    writer.frame([Buffer.from("0123456789")]);
  };
  await write(false);
  await write(false);
  expect(await record(path)).toBe(26);
  await write(true);
  expect(await record(path)).toBe(52);
  for (const cut of [71, 60, 25]) {
    await truncate(path, cut);
    await write(true);
    expect(await record(path)).toBe(cut < 50 ? 26 : 52);
  }
  await writeFile(path, "x".repeat(500));
  await write(true);
  expect(await record(path)).toBe(26);
  await appendFile(path, Buffer.alloc(32, 0xff));
  await write(true);
  expect(await record(path)).toBe(52);
});

test.each([
  ["a folder that is not there", "none/a.pcap", /ENOENT/],
  ["a folder", "folder", /EISDIR/],
  ["a link", "link", /ELOOP|symbolic/],
  ["a file behind a link to its folder", "folder-link/a.pcap", /there is a link in its path/],
  ["a file of two names", "twin", /another name/],
  ["a pipe", "pipe", /no file|ENXIO/],
])("%s is refused, and stays as it was", async (_, name, why) => {
  const root = await folder();
  await writeFile(join(root, "target"), "kept");
  await symlink(join(root, "target"), join(root, "link"));
  await mkdir(join(root, "folder"));
  await symlink(join(root, "folder"), join(root, "folder-link"));
  await link(join(root, "target"), join(root, "twin"));
  await promisify(execFile)("mkfifo", [join(root, "pipe")]);
  await expect(PcapWriter.open(join(root, name), { maxBytes: 1e6 })).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(why),
  });
  expect(await readFile(join(root, "target"), "utf8")).toBe("kept");
});
