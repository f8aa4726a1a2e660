import { expect, test } from "vitest";
import { type MachineIdentity, mismatch } from "./machine-identity.ts";
import { machine } from "./state.test-support.ts";

test("the same machine loads it", () => {
  expect(mismatch({ machine }, { ...machine })).toBeUndefined();
});

test("every difference is told", () => {
  for (const key of Object.keys(machine) as (keyof MachineIdentity)[]) {
    const here = { ...machine, [key]: typeof machine[key] === "number" ? 77 : "other" };
    expect(mismatch({ machine }, here), key).toMatch(/^it/);
  }
});

test("by what explains the others", () => {
  const stored = { machine: { ...machine, version: "8.2.0", fingerprint: "other" } };
  expect(mismatch(stored, machine)).toBe("it was stored by QEMU 8.2.0, this host has 10.0.2");
  expect(mismatch({ machine: { ...machine, network: "52:54:00:12:34:56/1500" } }, machine)).toBe(
    "it has network interface 52:54:00:12:34:56/1500, the machine would have no network interface",
  );
});
