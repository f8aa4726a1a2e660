import { readFile } from "node:fs/promises";

/**
 * Tells one process from a later one with the same number. Linux: field 22 of /proc/<pid>/stat (proc(5)), the start
 * time in clock ticks since boot.
 */

/** Start time of a process, or `undefined` if there is none with this number (or nothing of it is left but its status). */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
  return stat === "" ? undefined : startTimeIn(stat);
}

/** @param stat what /proc/<pid>/stat says */
export function startTimeIn(stat: string): string | undefined {
  // The second field is the program's name in parentheses and may hold anything, parentheses too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // The first thread may be a zombie while others still end; until the last one has, memory and files are held.
  const threads = Number(fields[17]);
  return fields[0] === "Z" && threads <= 1 ? undefined : fields[19];
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
