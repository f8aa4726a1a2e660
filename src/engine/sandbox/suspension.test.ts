import { expect, test } from "vitest";
import { type Suspension, wakeSandbox } from "./suspension.ts";

test("one that cannot be woken is as it was before: without a VM, and its network waits for the next one", async () => {
  const done: string[] = [];
  const act = (what: string) => async () => void done.push(what);
  const parts = {
    context: { states: { get: async () => ({ id: "state" }) }, uids: { acquire: () => 100_001 } },
    kept: { now: { suspendedIn: "state" }, save: () => done.push("saved") },
    network: { close: act("network closed"), adopt: act("network waits") },
    vm: {
      launch: () => Promise.reject(new Error("it is damaged")),
      release: () => ({ kill: act("killed") }),
      forget: () => done.push("forgotten"),
    },
  } as unknown as Suspension;
  await expect(wakeSandbox(parts)).rejects.toThrow("it is damaged");
  expect(done).toEqual(["killed", "forgotten", "saved", "network closed", "network waits"]);
});
