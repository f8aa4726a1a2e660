import { expect, test } from "vitest";
import { assertHeld, MainProcess } from "./main-process.ts";
import type { SandboxProcess } from "./process.ts";
import type { SandboxRecord } from "./record.ts";

const record = (command: string[] | undefined, mainProcess?: number) =>
  ({ name: "box", spec: { command }, mainProcess }) as unknown as SandboxRecord;

test("a command begins once, where there is one", () => {
  expect(() => assertHeld(record(["sh"]))).not.toThrow();
  for (const [held, message] of [
    [record(undefined), "sandbox 'box' has no command to begin"],
    [record(["sh"], 3), "the command of sandbox 'box' has begun already"],
  ] as const)
    expect(() => assertHeld(held)).toThrow(expect.objectContaining({ code: "invalid_state", message }));
});

test("the sandbox ends with it, unless it was let go of, or taken over anew", async () => {
  const ends: number[] = [];
  const main = new MainProcess(async (exitCode) => void ends.push(exitCode));
  const process = () => {
    const exited = Promise.withResolvers<{ exitCode: number }>();
    return { exited: exited.promise, end: (exitCode: number) => exited.resolve({ exitCode }) };
  };
  const [first, second, third] = [process(), process(), process()];
  main.follow(first as unknown as SandboxProcess);
  main.follow(second as unknown as SandboxProcess);
  first.end(1);
  second.end(2);
  await new Promise(setImmediate);
  main.follow(third as unknown as SandboxProcess);
  main.letGo();
  third.end(3);
  await new Promise(setImmediate);
  expect(ends).toEqual([2]);
  expect(main.process).toBeUndefined();
});
