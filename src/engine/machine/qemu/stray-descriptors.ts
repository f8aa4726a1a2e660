import { closeSync, readdirSync, readFileSync } from "node:fs";

/** Linux's O_CLOEXEC, as /proc/<pid>/fdinfo shows it. */
const CLOSE_ON_EXEC = 0o2000000;

/**
 * Closes what we inherited and do not use. Node marks inherited descriptors close-on-exec only up to the first gap above
 * 15, and its own always: any other that is not marked is a stray of the shell that started us, and would be passed on into
 * the jail: an open door to whatever it is. Linux; elsewhere nothing is done.
 */
export function closeStrayDescriptors(): void {
  let names: string[];
  try {
    names = readdirSync("/proc/self/fd");
  } catch {
    return;
  }
  for (const fd of names.map(Number)) {
    if (fd <= 2) continue;
    try {
      const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
      if (flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0) closeSync(fd);
    } catch {
      // The one that listed the folder, closed by now.
    }
  }
}
