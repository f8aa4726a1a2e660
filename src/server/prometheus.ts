import type { PoolInfo, SandboxMetrics } from "../contract/index.ts";

/**
 * Metrics in Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats): for each metric its help
 * and type, then all its samples. Counters of the guest count since before its start; only their differences mean something,
 * which is what counters are for.
 */
export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

interface Metric {
  name: string;
  type: "gauge" | "counter";
  help: string;
  /** Missing where the guest does not answer. */
  value: (sandbox: SandboxMetrics) => number | undefined;
}

const METRICS: readonly Metric[] = [
  {
    name: "up",
    type: "gauge",
    help: "Whether the guest's agent answers.",
    value: ({ health }) => (health === "responsive" ? 1 : 0),
  },
  {
    name: "uptime_seconds",
    type: "gauge",
    help: "Time since its start.",
    value: ({ uptimeMs }) => uptimeMs / 1_000,
  },
  { name: "cpus", type: "gauge", help: "Virtual CPUs.", value: ({ cpus }) => cpus },
  {
    name: "cpu_seconds_total",
    type: "counter",
    help: "Time that its CPUs were busy.",
    value: ({ guest }) => guest && guest.cpuMs / 1_000,
  },
  {
    name: "processes",
    type: "gauge",
    help: "User processes, with their threads.",
    value: ({ guest }) => guest?.processes,
  },
  {
    name: "memory_total_bytes",
    type: "gauge",
    help: "Memory that it has.",
    value: ({ guest }) => guest?.memory.totalBytes,
  },
  {
    name: "memory_used_bytes",
    type: "gauge",
    help: "Memory in use.",
    value: ({ guest }) => guest?.memory.usedBytes,
  },
  {
    name: "memory_cache_bytes",
    type: "gauge",
    help: "Memory that caches files.",
    value: ({ guest }) => guest?.memory.cacheBytes,
  },
  {
    name: "memory_available_bytes",
    type: "gauge",
    help: "Memory that can be had.",
    value: ({ guest }) => guest?.memory.availableBytes,
  },
  {
    name: "disk_total_bytes",
    type: "gauge",
    help: "Disk for what it writes.",
    value: ({ guest }) => guest?.disk.totalBytes,
  },
  {
    name: "disk_used_bytes",
    type: "gauge",
    help: "Disk in use.",
    value: ({ guest }) => guest?.disk.usedBytes,
  },
  {
    name: "network_received_bytes_total",
    type: "counter",
    help: "Bytes from the network.",
    value: ({ guest }) => guest?.network.receivedBytes,
  },
  {
    name: "network_sent_bytes_total",
    type: "counter",
    help: "Bytes to the network.",
    value: ({ guest }) => guest?.network.sentBytes,
  },
  {
    name: "cpu_pressure_seconds_total",
    type: "counter",
    help: "Time in which something waited for a CPU.",
    value: ({ guest }) => guest && guest.pressure.cpu.some.totalMs / 1_000,
  },
  {
    name: "memory_pressure_seconds_total",
    type: "counter",
    help: "Time in which something waited for memory.",
    value: ({ guest }) => guest && guest.pressure.memory.some.totalMs / 1_000,
  },
  {
    name: "io_pressure_seconds_total",
    type: "counter",
    help: "Time in which something waited for a disk.",
    value: ({ guest }) => guest && guest.pressure.io.some.totalMs / 1_000,
  },
  {
    name: "host_cpu_seconds_total",
    type: "counter",
    help: "CPU time of its VM on the host.",
    value: ({ host }) => host.cpuMs / 1_000,
  },
  {
    name: "host_resident_bytes",
    type: "gauge",
    help: "Memory of its VM on the host, with what is shared.",
    value: ({ host }) => host.residentBytes,
  },
  {
    name: "host_private_bytes",
    type: "gauge",
    help: "Memory of its VM on the host that is its own.",
    value: ({ host }) => host.privateBytes,
  },
  {
    name: "host_disk_read_bytes_total",
    type: "counter",
    help: "Bytes that it read from its disks.",
    value: ({ host }) => host.diskReadBytes,
  },
  {
    name: "host_disk_written_bytes_total",
    type: "counter",
    help: "Bytes that it wrote to its disks.",
    value: ({ host }) => host.diskWrittenBytes,
  },
];

const POOL_METRICS: readonly { name: string; type: "gauge" | "counter"; help: string; of: keyof PoolInfo }[] =
  [
    { name: "wanted", type: "gauge", help: "VMs that are to be ready.", of: "wanted" },
    { name: "ready", type: "gauge", help: "VMs that wait to be claimed.", of: "ready" },
    {
      name: "hits_total",
      type: "counter",
      help: "Sandboxes that were made of one that was ready.",
      of: "hits",
    },
    { name: "misses_total", type: "counter", help: "Sandboxes for which none was ready.", of: "misses" },
  ];

/** @param running all sandboxes that run, also those that could not be measured */
export function prometheusText(
  sandboxes: readonly SandboxMetrics[],
  running: number,
  pools: readonly PoolInfo[] = [],
): string {
  const lines = [
    "# HELP microsandbox_sandboxes Sandboxes that run.",
    "# TYPE microsandbox_sandboxes gauge",
    `microsandbox_sandboxes ${running}`,
  ];
  for (const { name, type, help, value } of METRICS) {
    const full = `microsandbox_sandbox_${name}`;
    const samples = sandboxes.flatMap((sandbox) => {
      const number = value(sandbox);
      if (number === undefined) return [];
      return [`${full}{id="${escaped(sandbox.sandbox)}",name="${escaped(sandbox.name)}"} ${number}`];
    });
    if (samples.length > 0) lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...samples);
  }
  for (const { name, type, help, of } of pools.length > 0 ? POOL_METRICS : []) {
    const full = `microsandbox_pool_${name}`;
    lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`);
    for (const pool of pools) lines.push(`${full}{${poolLabels(pool)}} ${pool[of]}`);
  }
  return `${lines.join("\n")}\n`;
}

function poolLabels({ image, cpus, memoryMiB, network }: PoolInfo): string {
  return `image="${escaped(image)}",cpus="${cpus}",memory_mib="${memoryMiB}",network="${network}"`;
}

/** A label's value: backslash, quote and newline are escaped. */
function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
