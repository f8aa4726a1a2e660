import type { SandboxMetrics, VolumeMount } from "../../contract/index.ts";
import type { AgentConnection, GuestDisk, GuestPressure, GuestStats } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import { volumesOf } from "./mounts.ts";
import type { SandboxRecord } from "./record.ts";
import type { Vigil } from "./vigil.ts";

/** A guest that takes longer than this is measured from outside only. */
const GUEST_TIMEOUT_MS = 2_000;

/** What a sandbox uses now. The guest's side is left out where it does not answer. */
export async function measure(
  record: SandboxRecord,
  machine: Machine,
  agent: Pick<AgentConnection, "stats"> | undefined,
  { health }: Pick<Vigil, "health">,
): Promise<SandboxMetrics> {
  const [host, guest] = await Promise.all([
    machine.statistics(),
    health === "unresponsive" || record.state === "paused"
      ? undefined
      : agent?.stats({ timeoutMs: GUEST_TIMEOUT_MS }).catch(() => undefined),
  ]);
  const now = new Date();
  const { cpuSeconds, ...bytes } = host;
  return {
    sandbox: record.id,
    name: record.name,
    time: now.toISOString(),
    uptimeMs: Math.max(0, now.getTime() - Date.parse(record.startedAt ?? now.toISOString())),
    cpus: record.spec.cpus,
    health,
    ...(guest === undefined ? {} : { guest: guestMetrics(guest, volumesOf(record.spec.mounts)) }),
    host: { cpuMs: Math.round(cpuSeconds * 1_000), ...bytes },
  };
}

function guestMetrics(
  guest: GuestStats,
  volumes: readonly VolumeMount[],
): NonNullable<SandboxMetrics["guest"]> {
  const { memory, network, pressure } = guest;
  return {
    cpuMs: guest.cpuMicroseconds / 1_000,
    processes: guest.processes,
    memory: {
      totalBytes: memory.total,
      // The guest's word: it may say that more is available than there is.
      usedBytes: Math.max(0, memory.total - memory.available),
      cacheBytes: memory.cache,
      availableBytes: memory.available,
    },
    disk: diskMetrics(guest.disk),
    // What the guest says of other disks is left out.
    volumes: volumes.flatMap(({ name, target }, i) => {
      const disk = guest.volumes.get(`volume${i}`);
      return disk === undefined ? [] : [{ name, target, ...diskMetrics(disk) }];
    }),
    network: { receivedBytes: network.received, sentBytes: network.sent },
    pressure: {
      cpu: pressureOf(pressure.cpu),
      memory: pressureOf(pressure.memory),
      io: pressureOf(pressure.io),
    },
  };
}

function diskMetrics({ total, used, available }: GuestDisk) {
  return { totalBytes: total, usedBytes: used, availableBytes: available };
}

function pressureOf(guest: GuestPressure) {
  return {
    some: { avg10Percent: guest.someRecent / 100, totalMs: guest.someMicroseconds / 1_000 },
    full: { avg10Percent: guest.fullRecent / 100, totalMs: guest.fullMicroseconds / 1_000 },
  };
}
