import { readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";

/** A host with less than this part of its memory free is short of it. */
const SHORT = 0.1;

/** Whether so much more memory may be used without the host running short of it. */
export function hasRoomFor(memoryMiB: number): boolean {
  return availableBytes() - memoryMiB * 1024 ** 2 >= totalmem() * SHORT;
}

/** What can be had without swapping, caches of files included (proc_meminfo(5)). */
function availableBytes(): number {
  try {
    const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "latin1"));
    if (match !== null) return Number(match[1]) * 1024;
  } catch {
    // Not Linux.
  }
  return freemem();
}
