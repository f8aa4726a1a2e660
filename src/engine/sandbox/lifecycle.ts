import { SandboxError, type SandboxState } from "../../contract/index.ts";

/**
 * The states of a sandbox and what may be done in each. `creating -> running <-> paused -> stopping -> stopped ->
 * (running | removed)`, and `failed` from anywhere.
 */

/** Where each state leads. */
const TRANSITIONS: Record<SandboxState, readonly SandboxState[]> = {
  creating: ["running", "failed", "removed"],
  running: ["paused", "stopping", "stopped", "failed", "removed"],
  paused: ["running", "stopping", "stopped", "failed", "removed"],
  stopping: ["stopped", "failed", "removed"],
  stopped: ["creating", "removed"],
  failed: ["creating", "removed"],
  removed: [],
};

export type Operation = "start" | "pause" | "resume" | "stop" | "kill" | "exec" | "measure" | "remove";

/** In which states an operation is legal. */
const LEGAL: Record<Operation, readonly SandboxState[]> = {
  start: ["stopped", "failed"],
  pause: ["running"],
  resume: ["paused"],
  stop: ["running", "paused"],
  kill: ["running", "paused", "stopping"],
  exec: ["running"],
  measure: ["running", "paused"],
  remove: ["stopped", "failed"],
};

const HINTS: Partial<Record<Operation, Partial<Record<SandboxState, string>>>> = {
  start: { running: "It runs already." },
  pause: { paused: "It is paused already.", stopped: "It does not run." },
  resume: { running: "It runs.", stopped: "Start it: msb start NAME" },
  stop: { stopped: "It is stopped already.", failed: "It does not run." },
  exec: { stopped: "Start it first: msb start NAME", failed: "Start it again: msb start NAME" },
  remove: { running: "Stop it first, or remove it by force: msb rm --force NAME" },
};

/** @throws `invalid_state` if a sandbox in this state does not allow the operation */
export function assertLegal(operation: Operation, name: string, state: SandboxState): void {
  if (LEGAL[operation].includes(state)) return;
  throw new SandboxError(
    "invalid_state",
    `sandbox '${name}' is ${state}: it cannot ${operation === "exec" ? "run a command" : `be ${past(operation)}`}`,
    {
      hint: HINTS[operation]?.[state]?.replace("NAME", name),
      details: { state, operation },
    },
  );
}

/** @throws `internal`: a transition outside the table is a mistake of ours */
export function assertTransition(name: string, from: SandboxState, to: SandboxState): void {
  if (TRANSITIONS[from].includes(to)) return;
  throw new SandboxError("internal", `sandbox '${name}' cannot go from ${from} to ${to}`);
}

function past(operation: Exclude<Operation, "exec">): string {
  return {
    start: "started",
    pause: "paused",
    resume: "resumed",
    stop: "stopped",
    kill: "killed",
    measure: "measured",
    remove: "removed",
  }[operation];
}
