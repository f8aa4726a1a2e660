import type { Fields } from "./fields.ts";

/** What the guest's kernel counts (spec/agent-protocol.md, "stats"). All numbers are the guest's word. */
export interface GuestStats {
  cpuMicroseconds: number;
  processes: number;
  memory: Record<"total" | "available" | "cache", number>;
  disk: Record<"total" | "used" | "available", number>;
  network: Record<"received" | "sent", number>;
  pressure: Record<"cpu" | "memory" | "io", GuestPressure>;
}

/** Hundredths of a percent of the last ten seconds, and microseconds in all. */
export type GuestPressure = Record<
  "someRecent" | "someMicroseconds" | "fullRecent" | "fullMicroseconds",
  number
>;

const WHOLE = 10_000;

export function readStats(result: Fields): GuestStats {
  const memory = result.fields("memory");
  const disk = result.fields("disk");
  const network = result.fields("network");
  const pressure = result.fields("pressure");
  return {
    cpuMicroseconds: result.uint("cpu_us"),
    processes: result.uint("processes"),
    memory: {
      total: memory.uint("total"),
      available: memory.uint("available"),
      cache: memory.uint("cache"),
    },
    disk: { total: disk.uint("total"), used: disk.uint("used"), available: disk.uint("available") },
    network: { received: network.uint("received"), sent: network.uint("sent") },
    pressure: {
      cpu: readPressure(pressure.fields("cpu")),
      memory: readPressure(pressure.fields("memory")),
      io: readPressure(pressure.fields("io")),
    },
  };
}

function readPressure(fields: Fields): GuestPressure {
  return {
    someRecent: Math.min(fields.uint("some_recent"), WHOLE),
    someMicroseconds: fields.uint("some_us"),
    fullRecent: Math.min(fields.uint("full_recent"), WHOLE),
    fullMicroseconds: fields.uint("full_us"),
  };
}
