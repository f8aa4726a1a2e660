import type { SandboxMetrics } from "../sdk/index.ts";
import { formatBytes } from "./quantity.ts";
import { printable } from "./terminal.ts";

/** What sandboxes use, as rows of a table. */

export const METRICS_HEADING = [
  "NAME",
  "CPU",
  "MEMORY",
  "OF",
  "DISK",
  "NET IN",
  "NET OUT",
  "PROCS",
  "WAIT",
  "UP",
];

/** @param before an earlier look at the same sandbox: CPU time is a difference */
export function metricsRow(now: SandboxMetrics, before?: SandboxMetrics): string[] {
  const { guest } = now;
  const up = formatUptime(now.uptimeMs);
  // What its kernel does not tell, its host does as far as it knows.
  if (guest === undefined) {
    return [
      printable(now.name),
      now.health === "unresponsive" ? "unresponsive" : "-",
      "-",
      "-",
      "-",
      "-",
      "-",
      "-",
      "-",
      up,
    ];
  }
  const { memory, disk, network, pressure } = guest;
  const waits = [pressure.cpu, pressure.memory, pressure.io].map(({ some }) => some.avg10Percent);
  return [
    printable(now.name),
    cpuPercent(now, before),
    formatBytes(memory.usedBytes),
    formatBytes(memory.totalBytes),
    formatBytes(disk.usedBytes),
    formatBytes(network.receivedBytes),
    formatBytes(network.sentBytes),
    String(guest.processes),
    `${Math.max(...waits).toFixed(0)} %`,
    up,
  ];
}

/** 100 % is one CPU that is always busy. */
function cpuPercent(now: SandboxMetrics, before: SandboxMetrics | undefined): string {
  if (before?.guest === undefined || now.guest === undefined) return "-";
  const elapsedMs = Date.parse(now.time) - Date.parse(before.time);
  if (elapsedMs <= 0) return "-";
  const busyMs = now.guest.cpuMs - before.guest.cpuMs;
  // The clocks of guest and host are read one after the other, and a guest may say anything.
  const percent = Math.min(Math.max(0, (100 * busyMs) / elapsedMs), 100 * now.cpus);
  return `${percent.toFixed(percent < 9.95 ? 1 : 0)} %`;
}

function formatUptime(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const pad = (value: number) => String(value).padStart(2, "0");
  const minutes = `${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
  return `${Math.floor(seconds / 3_600)}:${minutes}`;
}
