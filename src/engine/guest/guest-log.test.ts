import { expect, test } from "vitest";
import { type AgentLog, GuestLog } from "./guest-log.ts";

test("passes 64 messages at once and 64 a second, and counts what it dropped", () => {
  const entries: AgentLog[] = [];
  let now = 0;
  const log = new GuestLog(
    (entry) => entries.push(entry),
    () => now,
  );
  for (let i = 0; i < 100; i++) log.add({ level: "info", message: `m${i}` });
  expect(entries).toHaveLength(64);
  now = 500;
  for (let i = 0; i < 100; i++) log.add({ level: "warn", message: "later" });
  expect(entries).toHaveLength(96);
  expect(entries[64]!.message).toBe("later (36 earlier messages were dropped)");
  expect(entries[65]!.message).toBe("later");
});
