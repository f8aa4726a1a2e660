import { appendFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { NetworkRecord } from "../../contract/index.ts";
import { NetworkLog } from "./network-log.ts";

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "msb-netlog-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

const record = (name: string, reason = ""): NetworkRecord => ({
  kind: "name",
  time: "2026-01-01T00:00:00.000Z",
  name,
  type: "A",
  allowed: true,
  rule: "scope public",
  reason,
  addresses: [],
});
const names = async (records: AsyncIterable<NetworkRecord>) =>
  (await Array.fromAsync(records)).map(({ name }) => name);

test("what is kept comes back, also from another log and after half a line", async () => {
  const path = await folder();
  const log = new NetworkLog(path);
  log.append([record("a"), record("b")]);
  log.append([record("c")]);
  expect(await names(log.read())).toEqual(["a", "b", "c"]);
  await log.close();
  await appendFile(join(path, "network.jsonl"), '{"kind":"na');
  const again = new NetworkLog(path);
  again.append([record("d")]);
  expect(await names(again.read())).toEqual(["a", "b", "c", "d"]);
  expect(await names(again.read({ tail: 2 }))).toEqual(["c", "d"]);
  await again.close();
});

test("a follower sees what is kept and what comes, once each, until the end", async () => {
  const log = new NetworkLog(await folder());
  log.append([record("a")]);
  const follower = log.read({ follow: true });
  expect((await follower.next()).value?.name).toBe("a");
  log.append([record("b")]);
  expect((await follower.next()).value?.name).toBe("b");
  const last = follower.next();
  await log.close();
  expect(await last).toEqual({ value: undefined, done: true });
  const gone = new AbortController();
  const other = new NetworkLog(await folder());
  const waiting = other.read({ follow: true, signal: gone.signal }).next();
  gone.abort();
  expect((await waiting).done).toBe(true);
});

test("no more than two files are kept", async () => {
  const path = await folder();
  const log = new NetworkLog(path);
  for (let i = 0; i < 14; i++) {
    log.append([record(`r${i}`, "x".repeat(1024 * 1024))]);
    await names(log.read({ tail: 1 }));
  }
  expect((await readdir(path)).sort()).toEqual(["network.1.jsonl", "network.jsonl"]);
  const kept = await names(log.read());
  expect(kept.at(-1)).toBe("r13");
  expect(kept.length).toBeLessThanOrEqual(10);
  await log.close();
});
