import { readFile } from "node:fs/promises";

/**
 * Tells one process from a later one with the same number. Linux: field 22 of /proc/<pid>/stat (proc(5)), the start
 * time in clock ticks since boot.
 */

/** Start time of a process, or `undefined` if there is none with this number (or it is a zombie). */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses and may hold anything, parentheses too.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Kills the very process that had `startTime`; does nothing if it is gone. */
export async function killExactly(pid: number, startTime: string): Promise<void> {
  if ((await startTimeOf(pid)) !== startTime) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
