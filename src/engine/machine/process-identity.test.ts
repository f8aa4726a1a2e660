import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { killExactly, startTimeOf } from "./process-identity.ts";

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
