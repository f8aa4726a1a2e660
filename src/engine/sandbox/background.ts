import { readdirSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/**
 * A VM that nobody waits for yields the processors to those that somebody does. Only where the daemon is root: whoever is not may lower a
 * priority and never raise it again.
 */

/** Beyond the daemon's own; such a thread gets a third of what the daemon's get (sched(7)). One that gets much less would be taken for one that hangs. */
const NICER = 5;
const NICEST = 19;

/** Threads that its VMM starts later yield too. */
export function toBackground(vmmPid: number): void {
  ofAllThreads(vmmPid, Math.min(NICEST, getPriority() + NICER));
}

/** As urgent as the daemon is. */
export function toForeground(vmmPid: number): void {
  ofAllThreads(vmmPid, getPriority());
}

/** On Linux each thread has its own. */
function ofAllThreads(pid: number, nice: number): void {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), nice);
  } catch {
    // It, or a thread of it, has just ended.
  }
}
