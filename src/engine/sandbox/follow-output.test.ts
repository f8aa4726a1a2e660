import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { followOutput } from "./follow-output.ts";
import { SandboxLog } from "./log.ts";
import { outputRecord } from "./log-record.ts";

const START = { stdout: 0, stderr: 0 };

/** A log of one process's stdout. */
class Written implements AsyncDisposable {
  readonly log: SandboxLog;
  over = false;
  readonly end = Promise.withResolvers<void>();
  private offset = 0;

  constructor(directory: string) {
    this.log = new SandboxLog(directory);
  }

  async write(text: string, process = 1): Promise<void> {
    await this.log.append(outputRecord(process, "stdout", this.offset, Buffer.from(text)));
    if (process === 1) this.offset += Buffer.byteLength(text);
  }

  finish(): void {
    this.over = true;
    this.end.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.log.close();
  }

  follow(from = START, signal = new AbortController().signal) {
    const followed = { process: 1, from, isOver: () => this.over, over: this.end.promise };
    return followOutput(this.log, followed, signal);
  }

  async collect(from = START): Promise<{ text: string; lost: number }> {
    let text = "";
    let lost = 0;
    for await (const piece of this.follow(from)) {
      if ("lost" in piece) lost += piece.lost;
      else text += piece.data.toString();
    }
    return { text, lost };
  }
}

test("a reader gets what is kept, then what comes, of its process only", async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), "follow-"));
  await using written = new Written(directory.path);
  await written.write("one ");
  await written.write("other", 2);
  const early = written.collect();
  await written.write("two ");
  await written.write("three");
  written.finish();
  expect(await early).toEqual({ text: "one two three", lost: 0 });
  expect(await written.collect()).toEqual({ text: "one two three", lost: 0 });
  expect(await written.collect({ stdout: 6, stderr: 0 })).toEqual({ text: "o three", lost: 0 });
  expect(await written.collect({ stdout: 1000, stderr: 0 })).toEqual({ text: "", lost: 0 });
});

test("what was written twice is given once, and a gap is told", async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), "follow-"));
  await using written = new Written(directory.path);
  const { log } = written;
  for (const [offset, text] of [
    [0, "abc"],
    [1, "bcde"],
    [2, "cd"],
    [9, "jk"],
  ] as const) {
    await log.append(outputRecord(1, "stdout", offset, Buffer.from(text)));
  }
  const pieces = [];
  const followed = { process: 1, from: START, isOver: () => true, over: Promise.resolve() };
  for await (const piece of followOutput(log, followed, new AbortController().signal)) {
    pieces.push("lost" in piece ? piece.lost : piece.data.toString());
  }
  expect(pieces).toEqual(["abc", "de", 4, "jk"]);
});

test("a reader that stands still while the log turns over twice is told what it has missed, and nobody waits for it", async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), "follow-"));
  await using written = new Written(directory.path);
  const block = "x".repeat(1024 * 1024 - 1);
  await written.write("first");
  const slow = written.follow();
  let seen = 0;
  let lost = 0;
  const take = (piece: { lost: number } | { data: Buffer }) => {
    if ("lost" in piece) lost += piece.lost;
    else seen += piece.data.length;
  };
  take((await slow.next()).value as { data: Buffer });
  for (let i = 0; i < 70; i++) await written.write(block);
  written.finish();
  for await (const piece of slow) take(piece);
  const total = 5 + 70 * block.length;
  expect(seen + lost).toBe(total);
  expect(lost).toBeGreaterThan(0);
  const late = await written.collect();
  expect(late.text.length + late.lost).toBe(total);
  expect(late.lost).toBeGreaterThan(total - 34 * 1024 * 1024);
});

test("a reader that is told to goes at once, also while it waits", async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), "follow-"));
  await using written = new Written(directory.path);
  const abort = new AbortController();
  const reader = written.follow(START, abort.signal);
  const next = reader.next();
  abort.abort();
  expect(await next).toEqual({ done: true, value: undefined });
});
