import { afterAll, beforeAll, expect, test } from "vitest";
import { FAULT_STEPS } from "../src/engine/fault-injection.ts";
import { Pool, Sandbox } from "../src/sdk/index.ts";
import { BASE_IMAGE, isAlive, until } from "./sandbox-driver.ts";
import { FaultRoom } from "./state-faults.ts";

/** A claim that is broken off at each of its steps: there is a sandbox, or there is none; and nothing is left of the VM. */
let room: FaultRoom;
beforeAll(async () => {
  room = await FaultRoom.open("pool-faults");
});
afterAll(() => room?.[Symbol.asyncDispose]());

const steps = FAULT_STEPS.filter((step) => step.startsWith("claim."));

test.each(steps.flatMap((step) => ["kill", "kill-vm", "fail", "enospc"].map((what) => ({ step, what }))))(
  "$step, $what",
  async ({ step, what }) => {
    const { driver } = room;
    const options = { connection: driver.connection };
    await Pool.set({ image: BASE_IMAGE, count: 1 }, options);
    const isFull = async () => (await Pool.list(options))[0]?.ready === 1;
    await until(isFull, "one is ready", 60_000);
    const [claimed] = await driver.vmPids();
    await room.arm(step, what === "kill-vm" ? "hold" : what);
    const making = driver.create({ name: "wanted" }).catch((error) => error as Error);
    if (what === "kill-vm") {
      await room.held();
      process.kill(claimed!, "SIGKILL");
      await until(async () => !(await isAlive(claimed!)), "its VM is gone");
      await room.letGo();
    }
    const made = await making;
    expect(room.done).toBe(true);
    if (what === "kill") {
      expect(made).toMatchObject({ code: "unavailable" });
      expect(await Sandbox.list(options)).toEqual([]);
    } else if (what === "kill-vm" && step === "claim.thawed") {
      // It was the sandbox's by then, and the sandbox says what became of it; unless its start still saw it, and fails.
      const [sandbox] = await Sandbox.list(options);
      if (made instanceof Error) {
        expect(sandbox).toBeUndefined();
      } else {
        const failed = async () => (await sandbox!.inspect()).state === "failed";
        await until(failed, "the sandbox has failed");
        expect(sandbox!.info).toMatchObject({ name: "wanted", reason: expect.stringMatching(/./) });
        await sandbox!.remove();
      }
    } else {
      // It started the usual way.
      expect((made as Sandbox).info.timings.map(({ name }) => name)).not.toContain("claim");
      expect((await (made as Sandbox).shell("hostname")).stdout).toBe("wanted\n");
      await (made as Sandbox).remove({ force: true });
    }
    await until(isFull, "another is ready", 60_000);
    const left = await driver.vmPids();
    expect(left).toHaveLength(1);
    expect(left).not.toContain(claimed);
    expect(await driver.files("sandboxes")).toHaveLength(1);
  },
);
