import { expect, test } from "vitest";
import { SANDBOX_STATES } from "../../contract/index.ts";
import { assertLegal, assertTransition, type Operation } from "./lifecycle.ts";

const legal: Record<Operation, string[]> = {
  start: ["stopped", "failed"],
  pause: ["running"],
  resume: ["paused", "suspended"],
  suspend: ["running", "paused"],
  snapshot: ["running", "paused", "suspended", "stopped"],
  fork: ["running", "paused", "suspended"],
  stop: ["running", "paused", "suspended"],
  kill: ["running", "paused", "suspended", "stopping"],
  exec: ["running"],
  measure: ["running", "paused"],
  remove: ["stopped", "failed"],
};

test("each operation is legal in its states and invalid_state, naming sandbox and state, in all others", () => {
  for (const [operation, states] of Object.entries(legal) as [Operation, string[]][]) {
    for (const state of SANDBOX_STATES) {
      const attempt = () => assertLegal(operation, "box", state);
      if (states.includes(state)) expect(attempt, `${operation} ${state}`).not.toThrow();
      else {
        expect(attempt, `${operation} ${state}`).toThrowError(
          expect.objectContaining({
            code: "invalid_state",
            message: expect.stringContaining(`'box' is ${state}`),
          }),
        );
      }
    }
  }
});

test("a removed sandbox goes nowhere, and every other can fail or be removed", () => {
  for (const state of SANDBOX_STATES) {
    expect(() => assertTransition("box", "removed", state)).toThrow();
    if (state !== "removed") expect(() => assertTransition("box", state, "removed")).not.toThrow();
  }
  for (const state of ["creating", "running", "paused", "suspended", "stopping"] as const) {
    expect(() => assertTransition("box", state, "failed")).not.toThrow();
  }
});
