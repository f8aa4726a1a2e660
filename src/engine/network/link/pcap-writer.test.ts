import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
  const writer = await PcapWriter.open(path);
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
  const writer = await PcapWriter.open(join(await folder(), "a.pcap"));
  const frame = new Uint8Array(1024 * 1024);
  for (let i = 0; i < 10; i++) writer.frame([frame]);
  expect(writer.left).toBe(3);
  await writer[Symbol.asyncDispose]();
});

test("a file that cannot be made is an error that says so", async () => {
  const path = join(await folder(), "none", "a.pcap");
  await expect(PcapWriter.open(path)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(/cannot write to .*a\.pcap: ENOENT/),
  });
});
