import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Machine, MachineExit } from "../machine.ts";
import { candidates, chooseAccelerator, explained } from "./accelerator.ts";

/** A machine whose console says what the test wants; the probe looks at nothing else. */
function machine(says: string, exit?: MachineExit): Machine & { killed: boolean } {
  const fake = {
    killed: false,
    exited: exit === undefined ? new Promise<MachineExit>(() => {}) : Promise.resolve(exit),
    console: async () => says,
    kill: async () => {
      fake.killed = true;
    },
  };
  return fake as unknown as Machine & { killed: boolean };
}

test("each platform tries its own accelerator first and emulation last", () => {
  expect(candidates("linux")).toEqual(["kvm", "tcg"]);
  expect(candidates("darwin")).toEqual(["hvf", "tcg"]);
  expect(candidates("win32")).toEqual(["whpx", "tcg"]);
  expect(candidates("freebsd")).toEqual(["tcg"]);
});

test("a /dev/kvm that only root may open is told with its remedy", () => {
  expect(explained("failed to initialize kvm: Permission denied")).toContain("chmod 660 /dev/kvm");
  expect(explained("something else")).toBe("something else");
});

describe("the choice", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "msb-accel-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const options = (boot: () => Promise<Machine>) => ({
    platform: "darwin" as const, // no /dev/kvm to be looked at first
    qemuHash: "hash",
    cacheFile: join(folder, "accelerator.json"),
    deadlineMs: 100,
    boot,
  });

  test("falls on what ran our kernel, and is kept", async () => {
    const probe = machine("... Run /init as init process ...");
    expect(await chooseAccelerator(options(async () => probe))).toEqual({ accelerator: "hvf", reason: "" });
    expect(probe.killed).toBe(true);
    const again = () => Promise.reject(new Error("probed twice"));
    expect(await chooseAccelerator(options(again))).toEqual({ accelerator: "hvf", reason: "" });
  });

  test("falls on emulation if the guest spins without booting, and says so", async () => {
    const spinning = machine("Decompressing");
    const verdict = await chooseAccelerator(options(async () => spinning));
    expect(verdict).toEqual({
      accelerator: "tcg",
      reason: "hvf is there but a guest did not boot within 0.1 s",
    });
    expect(spinning.killed).toBe(true);
  });

  test("falls on emulation if QEMU ends or does not start", async () => {
    const ended = machine("", { cause: "crashed", message: "failed to set MSR 0x48b" });
    expect(await chooseAccelerator(options(async () => ended))).toMatchObject({
      accelerator: "tcg",
      reason: expect.stringContaining("failed to set MSR"),
    });
    await rm(join(folder, "accelerator.json"));
    const refusing = () => Promise.reject(new Error("no such accelerator"));
    expect(await chooseAccelerator(options(refusing))).toMatchObject({
      reason: expect.stringContaining("no such accelerator"),
    });
  });

  test("is made again for another QEMU, and when the file is damaged", async () => {
    await chooseAccelerator(options(async () => machine("Run /init as init process")));
    const other = await chooseAccelerator({ ...options(async () => machine("")), qemuHash: "other" });
    expect(other.accelerator).toBe("tcg");
    await writeFile(join(folder, "accelerator.json"), "{");
    const after = await chooseAccelerator(options(async () => machine("Run /init as init process")));
    expect(after.accelerator).toBe("hvf");
    expect(JSON.parse(await readFile(join(folder, "accelerator.json"), "utf8"))).toMatchObject({
      accelerator: "hvf",
    });
  });

  test("can be taken out of our hands", async () => {
    const boot = () => Promise.reject(new Error("probed"));
    expect(await chooseAccelerator({ ...options(boot), forced: "kvm" })).toMatchObject({
      accelerator: "kvm",
    });
  });
});
