import { SandboxError, type SandboxState } from "../../contract/index.ts";

/**
 * The states of a sandbox and what may be done in each. `creating -> running <-> (paused | suspended) -> stopping -> stopped ->
 * (running | removed)`, and `failed` from anywhere.
 */

/** Where each state leads. */
const TRANSITIONS: Record<SandboxState, readonly SandboxState[]> = {
  creating: ["running", "failed", "removed"],
  running: ["paused", "suspended", "stopping", "stopped", "failed", "removed"],
  paused: ["running", "suspended", "stopping", "stopped", "failed", "removed"],
  suspended: ["running", "stopped", "failed", "removed"],
  stopping: ["stopped", "failed", "removed"],
  stopped: ["creating", "removed"],
  failed: ["creating", "removed"],
  removed: [],
};

export type Operation =
  | "start"
  | "pause"
  | "resume"
  | "suspend"
  | "snapshot"
  | "fork"
  | "stop"
  | "kill"
  | "exec"
  | "measure"
  | "remove";

/** In which states an operation is legal. */
const LEGAL: Record<Operation, readonly SandboxState[]> = {
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

const HINTS: Partial<Record<Operation, Partial<Record<SandboxState, string>>>> = {
  start: { running: "It runs already." },
  pause: {
    paused: "It is paused already.",
    suspended: "It is suspended, and needs nothing as it is.",
    stopped: "It does not run.",
  },
  resume: { running: "It runs.", stopped: "Start it: msb start NAME" },
  suspend: { suspended: "It is suspended already.", stopped: "It does not run." },
  snapshot: { failed: "Start it again: msb start NAME" },
  fork: {
    stopped: "Start it first: msb start NAME. Or make a snapshot of its disks: msb snapshot create NAME",
    failed: "Start it again: msb start NAME",
  },
  stop: { stopped: "It is stopped already.", failed: "It does not run." },
  exec: { stopped: "Start it first: msb start NAME", failed: "Start it again: msb start NAME" },
  remove: {
    running: "Stop it first, or remove it by force: msb rm --force NAME",
    paused: "Stop it first, or remove it by force: msb rm --force NAME",
    suspended: "Remove it by force: msb rm --force NAME",
  },
};

/** @throws `invalid_state` if a sandbox in this state does not allow the operation */
export function assertLegal(operation: Operation, name: string, state: SandboxState): void {
  if (LEGAL[operation].includes(state)) return;
  throw new SandboxError("invalid_state", `sandbox '${name}' is ${state}: it cannot ${what(operation)}`, {
    hint: HINTS[operation]?.[state]?.replace("NAME", name),
    details: { state, operation },
  });
}

/** It has no VM, and gets one only by being started again. */
export function isOver(state: SandboxState): boolean {
  return state === "stopped" || state === "failed" || state === "removed";
}

/** @throws `internal`: a transition outside the table is a mistake of ours */
export function assertTransition(name: string, from: SandboxState, to: SandboxState): void {
  if (TRANSITIONS[from].includes(to)) return;
  throw new SandboxError("internal", `sandbox '${name}' cannot go from ${from} to ${to}`);
}

function what(operation: Operation): string {
  return {
    start: "be started",
    pause: "be paused",
    resume: "be resumed",
    suspend: "be suspended",
    snapshot: "be stored as a snapshot",
    fork: "be forked",
    exec: "run a command",
    stop: "be stopped",
    kill: "be killed",
    measure: "be measured",
    remove: "be removed",
  }[operation];
}
