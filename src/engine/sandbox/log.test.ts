import { appendFile, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SandboxLog } from "./log.ts";
import { outputRecord } from "./log-record.ts";

describe("a sandbox's log", () => {
  let folder: string;
  let log: SandboxLog;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "msb-log-"));
    log = new SandboxLog(folder);
  });
  afterEach(async () => {
    await log.close();
    await rm(folder, { recursive: true, force: true });
  });
  const write = (text: string, offset = 0, process = 1) =>
    log.append(outputRecord(process, "stdout", offset, Buffer.from(text)));
  const texts = async (options = {}) =>
    (await Array.fromAsync(log.read(options))).map((record) => record.text);

  test("keeps text as text and other bytes as base64", () => {
    expect(outputRecord(1, "stderr", 5, Buffer.from("häl\n"))).toMatchObject({
      process: 1,
      stream: "stderr",
      offset: 5,
      text: "häl\n",
    });
    expect(outputRecord(1, "stdout", 0, Buffer.from([0xff, 0x00]))).toMatchObject({ base64: "/wA=" });
    expect(outputRecord(1, "stdout", 0, Buffer.from([0x61, 0x00]))).toMatchObject({ base64: "YQA=" });
  });

  test("gives records in the order they were written, also to the next daemon", async () => {
    await Promise.all(["a", "b", "c"].map((text) => write(text)));
    expect(await texts()).toEqual(["a", "b", "c"]);
    expect(await texts({ tail: 2 })).toEqual(["b", "c"]);
    await log.close();
    log = new SandboxLog(folder);
    await write("d");
    expect(await texts()).toEqual(["a", "b", "c", "d"]);
  });

  test("follows without a gap and without a record twice", async () => {
    const seen: string[] = [];
    const controller = new AbortController();
    for (let i = 0; i < 50; i++) void write(`${i}`);
    const following = (async () => {
      for await (const record of log.read({ follow: true, signal: controller.signal })) {
        seen.push(record.text!);
        if (seen.length === 300) controller.abort();
      }
    })();
    for (let i = 50; i < 300; i++) {
      void write(`${i}`);
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await following;
    expect(seen).toEqual(Array.from({ length: 300 }, (_, i) => `${i}`));
  });

  test("filters what is kept and what comes, and counts the tail behind the filter", async () => {
    for (const text of ["red\n", "green\n", "dark red\n", "blue\n"]) await write(text, 0);
    expect(await texts({ grep: "red" })).toEqual(["red\n", "dark red\n"]);
    expect(await texts({ grep: "red", tail: 1 })).toEqual(["dark red\n"]);
    expect(await texts({ tail: 0 })).toEqual([]);
    const following = texts({ follow: true, grep: "red", tail: 1 });
    await write("no\nred", 6);
    await write("dish\n", 12);
    await write("red without an end", 17);
    await log.close();
    expect(await following).toEqual(["dark red\n", "reddish\n", "red without an end"]);
  });

  test("follows until the time that was asked for", async () => {
    await write("before");
    const until = new Date(Date.now() + 300).toISOString();
    expect(await texts({ follow: true, until })).toEqual(["before"]);
    expect(await texts({ follow: true, until: "2026-01-01T00:00:00Z" })).toEqual([]);
  });

  test("tells a reader who is too slow what it missed, and keeps a bounded amount for it", async () => {
    const reader = log.read({ follow: true })[Symbol.asyncIterator]();
    await write("first");
    expect((await reader.next()).value?.text).toBe("first");
    const text = "x".repeat(1024 * 1024);
    for (let i = 0; i < 12; i++) await write(text, i);
    const rest = [];
    for (;;) {
      const { value } = await reader.next();
      rest.push(value);
      if (value?.stream === "system") break;
    }
    expect(rest.slice(0, -1)).toHaveLength(8);
    expect(rest.at(-1)?.text).toMatch(/^4 records skipped/);
    await reader.return(undefined);
  });

  test("ends a follower when it is closed", async () => {
    const following = texts({ follow: true });
    await write("only");
    await log.close();
    expect(await following).toEqual(["only"]);
  });

  test("tells how far each process's stream is written, past half a line that a crash left", async () => {
    await write("hello", 0);
    await write("wörld", 5);
    await log.append(outputRecord(2, "stderr", 100, Buffer.from([0xff, 0xfe])));
    await log.close();
    await appendFile(
      join(folder, "output.jsonl"),
      '{"time":"x","process":1,"stream":"stdout","offset":11,"te',
    );
    log = new SandboxLog(folder);
    expect(Object.fromEntries(await log.offsets())).toEqual({ "1/stdout": 11, "2/stderr": 102 });
    await write("again", 11);
    expect(await texts()).toEqual(["hello", "wörld", undefined, "again"]);
  });

  test("stays within two files of 16 MiB and a record", async () => {
    const text = "x".repeat(1024 * 1024);
    for (let i = 0; i < 40; i++) await write(text, i * text.length);
    const names = await readdir(folder);
    expect(names.sort()).toEqual(["output.1.jsonl", "output.jsonl"]);
    for (const name of names) expect((await stat(join(folder, name))).size).toBeLessThan(18.5 * 1024 ** 2);
    const ends = await log.offsets();
    expect(ends.get("1/stdout")).toBe(40 * text.length);
  });

  test("a log that cannot be written says so to whoever waits", async () => {
    await rm(folder, { recursive: true });
    await expect(write("lost")).rejects.toMatchObject({ code: "ENOENT" });
  });
});
