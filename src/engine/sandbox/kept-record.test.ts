import { expect, test } from "vitest";
import type { SandboxContext } from "./context.ts";
import { KeptRecord } from "./kept-record.ts";
import type { SandboxRecord } from "./record.ts";

test("a transition is stored before it is told, and one that is not in the table is neither", () => {
  const done: unknown[] = [];
  const context = {
    table: {
      put: ({ record }: { record: SandboxRecord }) => done.push(["put", record.state, record.reason]),
    },
    events: { add: ({ type, message }: { type: string; message?: string }) => done.push([type, message]) },
    holds: { ending: (id: string) => done.push(["ending", id]) },
  } as unknown as Pick<SandboxContext, "table" | "events" | "holds">;
  const record = { id: "1", name: "box", state: "running", createdAt: "" } as SandboxRecord;
  const kept = new KeptRecord(context, record);
  kept.transition("stopping", { reason: "asked" });
  kept.transition("stopped");
  // Why an earlier run ended is gone with the next start, if that is said.
  kept.transition("creating", { reason: undefined });
  expect(() => kept.transition("paused")).toThrow("cannot go from creating to paused");
  expect(done).toEqual([
    ["put", "stopping", "asked"],
    ["ending", "1"],
    ["sandbox.stopping", "asked"],
    ["put", "stopped", "asked"],
    ["sandbox.stopped", "asked"],
    ["put", "creating", undefined],
    ["sandbox.creating", undefined],
  ]);
  expect(kept.now.state).toBe("creating");
});
