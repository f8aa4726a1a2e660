import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MAX_ENDED_PROCESSES } from "../../contract/index.ts";
import { type ProcessRecord, ProcessRecords } from "./process-records.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "records-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const record = (process: number, state: ProcessRecord["state"] = "running"): ProcessRecord => ({
  process,
  pid: process + 100,
  argv: ["sleep", "1"],
  tty: false,
  main: false,
  state,
  startedAt: "2026-01-01T00:00:00.000Z",
});

test("of those that have ended the last are kept, of those that run all", () => {
  const records = new ProcessRecords(directory);
  records.put(record(1));
  for (let process = 2; process <= 301; process++) records.put(record(process, "ended"));
  const kept = [...records.byNumber.keys()];
  expect(kept).toHaveLength(MAX_ENDED_PROCESSES + 1);
  expect([kept[0], kept[1], kept.at(-1)]).toEqual([1, 302 - MAX_ENDED_PROCESSES, 301]);
});

test("another daemon finds what was written, and nothing in a file that is damaged", async () => {
  const records = new ProcessRecords(directory);
  records.put({ ...record(7), timeoutMs: 5_000 });
  await Promise.all([records.write(), records.write()]);
  records.put(record(8, "ended"));
  records.writeSoon();
  await records.close(false);
  const again = new ProcessRecords(directory);
  expect([...again.byNumber.values()]).toEqual([{ ...record(7), timeoutMs: 5_000 }, record(8, "ended")]);
  await again.close(true);
  await writeFile(join(directory, "processes.json"), '{"processes":[{"pro');
  expect(new ProcessRecords(directory).byNumber.size).toBe(0);
});

test("nothing is written once the sandbox is gone", async () => {
  const records = new ProcessRecords(directory);
  records.put(record(1));
  records.writeSoon();
  await records.close(true);
  await records.write();
  expect(new ProcessRecords(directory).byNumber.size).toBe(0);
});
