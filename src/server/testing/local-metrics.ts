import type { SandboxMetrics } from "../../contract/index.ts";

/** What a sandbox of the engine without VMs uses. */
export function localMetrics(sandbox: string, name: string): SandboxMetrics {
  const nothing = { avg10Percent: 0, totalMs: 0 };
  const pressure = { some: { avg10Percent: 1.5, totalMs: 12.5 }, full: nothing };
  return {
    sandbox,
    name,
    time: new Date().toISOString(),
    uptimeMs: 61_000,
    cpus: 1,
    health: "responsive",
    guest: {
      cpuMs: 1_234.5,
      processes: 3,
      memory: { totalBytes: 100e6, usedBytes: 40e6, cacheBytes: 10e6, availableBytes: 60e6 },
      disk: { totalBytes: 4e9, usedBytes: 1e9, availableBytes: 3e9 },
      volumes: [],
      network: { receivedBytes: 0, sentBytes: 0 },
      pressure: { cpu: pressure, memory: pressure, io: pressure },
    },
    host: {
      cpuMs: 2_000,
      residentBytes: 90e6,
      privateBytes: 40e6,
      diskReadBytes: 5e6,
      diskWrittenBytes: 1e6,
    },
  };
}
