import { readdirSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/**
 * A VM that nobody waits for yields the processors to those that somebody does. Only where the daemon is root: whoever is not may lower a
 * priority and never raise it again.
 */

/** Of 19; a thread of this niceness gets a third of what one of 0 gets (sched(7)). One that gets much less would be taken for one that hangs. */
const NICE = 5;

/** Threads that its VMM starts later yield too. */
export function toBackground(vmmPid: number): void {
  ofAllThreads(vmmPid, NICE);
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
