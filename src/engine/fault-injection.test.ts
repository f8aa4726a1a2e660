import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FAULT_STEPS, faultInjection } from "./fault-injection.ts";

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "msb-fault-"));
});
afterAll(() => rm(home, { recursive: true, force: true }));

test("without a setting there is nothing in the way", () => {
  expect(faultInjection(undefined, home)).toBeUndefined();
  expect(faultInjection("", home)).toBeUndefined();
});

test("a step or an action that there is not is refused", () => {
  for (const setting of ["snapshot.none=kill", "snapshot.taken=burn", "snapshot.taken", "=", "x"])
    expect(() => faultInjection(setting, home)).toThrow(`'${setting}' is no step and action`);
  for (const step of FAULT_STEPS) faultInjection(`${step}=fail`, home);
});

test("only the step that was named fails, as it was asked to", async () => {
  const reached = faultInjection("suspend.taken=fail", home)!;
  await reached("suspend.paused");
  await expect(reached("suspend.taken")).rejects.toMatchObject({ code: "internal" });
  await expect(faultInjection("state.summed=enospc", home)!("state.summed")).rejects.toMatchObject({
    code: "ENOSPC",
  });
});

test("what a file names happens once; what it holds waits to be let go of", async () => {
  const file = join(home, "fault");
  const reached = faultInjection(file, home)!;
  await reached("fork.taken");
  await writeFile(file, "fork.taken=fail");
  await expect(reached("fork.taken")).rejects.toMatchObject({ code: "internal" });
  await reached("fork.taken");
  await writeFile(file, "fork.taken=hold");
  const held = reached("fork.taken");
  expect(existsSync(join(home, "fault-held"))).toBe(true);
  await rm(join(home, "fault-held"));
  await held;
});
