import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { killExactly, startTimeIn, startTimeOf } from "./process-identity.ts";

test("a process is told from another with the same number by its start time", async () => {
  const child = spawn("sleep", ["1000"]);
  const ended = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
  const started = await startTimeOf(child.pid!);
  expect(started).toMatch(/^\d+$/);
  await killExactly(child.pid!, "1");
  expect(await startTimeOf(child.pid!)).toBe(started);
  await killExactly(child.pid!, started!);
  expect(await ended).toBe("SIGKILL");
  expect(await startTimeOf(child.pid!)).toBeUndefined();
  await killExactly(child.pid!, started!);
});

test("a process whose first thread has ended is there until the others have, too", () => {
  const stat = (state: string, threads: number) =>
    `42 (a) Z) b) ${state} 1 42 42 0 -1 4194304 0 0 0 0 7 3 0 0 20 0 ${threads} 0 98765 0 0`;
  expect(startTimeIn(stat("S", 1))).toBe("98765");
  expect(startTimeIn(stat("Z", 3))).toBe("98765");
  expect(startTimeIn(stat("Z", 1))).toBeUndefined();
});
