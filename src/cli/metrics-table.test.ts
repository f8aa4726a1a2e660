import { expect, test } from "vitest";
import type { SandboxMetrics } from "../sdk/index.ts";
import { METRICS_HEADING, metricsRow } from "./metrics-table.ts";

const nothing = { avg10Percent: 0, totalMs: 0 };
const waits = (avg10Percent: number) => ({ some: { avg10Percent, totalMs: 1 }, full: nothing });

function at(time: string, cpuMs: number): SandboxMetrics {
  return {
    sandbox: "id",
    name: "box",
    time,
    uptimeMs: 3_725_000,
    cpus: 1,
    health: "responsive",
    guest: {
      cpuMs,
      processes: 3,
      memory: { totalBytes: 256 * 1024 ** 2, usedBytes: 1024 ** 2, cacheBytes: 0, availableBytes: 0 },
      volumes: [],
      disk: { totalBytes: 4096, usedBytes: 2048, availableBytes: 2048 },
      network: { receivedBytes: 0, sentBytes: 1 },
      pressure: { cpu: waits(1), memory: waits(42.4), io: waits(0) },
    },
    host: { cpuMs: 1, residentBytes: 1, privateBytes: 1, diskReadBytes: 1, diskWrittenBytes: 1 },
  };
}

const first = at("2026-01-01T00:00:00.000Z", 100);

test("a row has what is now; CPU is known from the second look on", () => {
  const row = ["box", "-", "1.0 MiB", "256 MiB", "2.0 KiB", "0 B", "1 B", "3", "42 %", "1:02:05"];
  expect(metricsRow(first)).toEqual(row);
  expect(row).toHaveLength(METRICS_HEADING.length);
  const cpu = (now: SandboxMetrics) => metricsRow(now, first)[1];
  expect(cpu(at("2026-01-01T00:00:02.000Z", 600))).toBe("25 %");
  expect(cpu(at("2026-01-01T00:00:02.000Z", 110))).toBe("0.5 %");
});

test("what a guest says of itself is kept within what can be", () => {
  const cpu = (now: SandboxMetrics) => metricsRow(now, first)[1];
  expect(cpu(at("2026-01-01T00:00:01.000Z", 1e12))).toBe("100 %");
  expect(cpu(at("2026-01-01T00:00:01.000Z", 0))).toBe("0.0 %");
  expect(cpu(at("2025-01-01T00:00:01.000Z", 200))).toBe("-");
});

test("one that does not answer says so", () => {
  const { guest: _guest, ...silent } = first;
  const row = metricsRow({ ...silent, health: "unresponsive" }, first);
  expect(row.slice(0, 3)).toEqual(["box", "unresponsive", "-"]);
  expect(row).toHaveLength(METRICS_HEADING.length);
});
