import { spawn } from "node:child_process";
import { once } from "node:events";
import { getPriority } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { toBackground, toForeground } from "./background.ts";

test.runIf(process.getuid?.() === 0)("a process yields, and is as urgent as we are again", async () => {
  const child = spawn("cat");
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child, "spawn");
  const pid = child.pid!;
  toBackground(pid);
  expect(getPriority(pid)).toBe(Math.min(19, getPriority() + 5));
  toForeground(pid);
  expect(getPriority(pid)).toBe(getPriority());
});

test("one that is gone is no error", async () => {
  const child = spawn("true");
  await once(child, "exit");
  toBackground(child.pid!);
});
