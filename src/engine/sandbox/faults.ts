/**
 * Steps that tests break off: called where one has been reached. It may throw, never return, or end the program. Does nothing otherwise.
 */
export type Reached = (step: string) => void | Promise<void>;

/** Of taking the state of a running sandbox, in the order in which they are reached. */
const TAKING = [
  "frozen",
  "paused",
  "taken",
  "memory-written",
  "resumed",
  "thawed",
  "disks-copied",
  "stored",
] as const;

/** All steps, by operation. `suspend` is at `resumed` and `thawed` only if it failed before; `load` is part of all that loads a state. */
export const OPERATION_STEPS: Readonly<Record<string, readonly string[]>> = {
  snapshot: TAKING,
  fork: TAKING,
  suspend: [...TAKING, "suspended", "ended"],
  wake: ["loaded", "running", "gone-on"],
  load: ["greeted", "restored"],
  claim: ["recorded", "thawed"],
};
