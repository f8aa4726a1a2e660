import type { Fields } from "./fields.ts";

/** What the guest's kernel counts (spec/agent-protocol.md, "stats"). All numbers are the guest's word. */
export interface GuestStats {
  cpuMicroseconds: number;
  processes: number;
  memory: Record<"total" | "available" | "cache", number>;
  disk: GuestDisk;
  /** The volumes that may be written to, by their disks: `volume0` and so on. */
  volumes: Map<string, GuestDisk>;
  network: Record<"received" | "sent", number>;
  pressure: Record<"cpu" | "memory" | "io", GuestPressure>;
}

export type GuestDisk = Record<"total" | "used" | "available", number>;

/** Hundredths of a percent of the last ten seconds, and microseconds in all. */
export type GuestPressure = Record<
  "someRecent" | "someMicroseconds" | "fullRecent" | "fullMicroseconds",
  number
>;

const WHOLE = 10_000;
const MAX_VOLUMES = 16;

export function readStats(result: Fields): GuestStats {
  const memory = result.fields("memory");
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
    disk: readDisk(result.fields("disk")),
    volumes: readVolumes(result),
    network: { received: network.uint("received"), sent: network.uint("sent") },
    pressure: {
      cpu: readPressure(pressure.fields("cpu")),
      memory: readPressure(pressure.fields("memory")),
      io: readPressure(pressure.fields("io")),
    },
  };
}

function readDisk(fields: Fields): GuestDisk {
  return { total: fields.uint("total"), used: fields.uint("used"), available: fields.uint("available") };
}

function readVolumes(result: Fields): Map<string, GuestDisk> {
  if (!result.has("volumes")) return new Map(); // by an agent of an older template
  const volumes = result.fields("volumes");
  return new Map(volumes.keys(MAX_VOLUMES).map((disk) => [disk, readDisk(volumes.fields(disk))]));
}

function readPressure(fields: Fields): GuestPressure {
  return {
    someRecent: Math.min(fields.uint("some_recent"), WHOLE),
    someMicroseconds: fields.uint("some_us"),
    fullRecent: Math.min(fields.uint("full_recent"), WHOLE),
    fullMicroseconds: fields.uint("full_us"),
  };
}
