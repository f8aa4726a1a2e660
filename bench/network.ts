import { sandboxGuest, slirpGuest } from "./network/guests.ts";
import { LoadPeer } from "./network/load.ts";
import { measureMemory, OPEN_CONNECTIONS } from "./network/memory.ts";
import { measureApi, measureStarts } from "./network/starts.ts";
import { measureTraffic, ratioOf, TRAFFIC_COLUMNS, type Traffic, trafficRows } from "./network/traffic.ts";
import type { Report, Verdict } from "./report.ts";
import { summarize } from "./statistics.ts";
import type { Workbench } from "./workbench.ts";

/**
 * What does the network do, and what does it cost? Its traffic beside that of QEMU's own user network (slirp): same QEMU, template,
 * program and peer, in turns. Then the daemon's memory with 1,000 connections, what a network adds to a start, and whether starting 50
 * sandboxes with networks can be noticed at the API.
 */
const STARTS_PER_ROUND = 5;

export async function run(bench: Workbench, n = 3): Promise<Report> {
  await using peer = await LoadPeer.start();
  // First, while the daemon has not grown from anything else.
  const memory = await measureMemory(bench, peer);
  await bench.settle();
  const starts = await measureStarts(bench, n * STARTS_PER_ROUND);
  const api = { none: await measureApi(bench, "none"), public: await measureApi(bench, "public") };
  const traffic = await betweenGuestAndHost(bench, peer, n);
  const [without, withNetwork] = [summarize(starts.without), summarize(starts.with)];
  return {
    bench: "network",
    columns: TRAFFIC_COLUMNS,
    rows: trafficRows(traffic),
    verdicts: [
      atLeast("guest → host, 1 connection, ≥ 1.5 × slirp's", ratioOf(traffic, "send", 1), 1.5),
      atLeast("guest → host, 8 connections, ≥ 1.5 × slirp's", ratioOf(traffic, "send", 8), 1.5),
      atLeast("host → guest, 1 connection, ≥ 1.5 × slirp's", ratioOf(traffic, "receive", 1), 1.5),
      atLeast("host → guest, 8 connections, ≥ 1.5 × slirp's", ratioOf(traffic, "receive", 8), 1.5),
      atLeast("short HTTP connections, 8 at a time, ≥ slirp's", ratioOf(traffic, "request", 8), 1),
      {
        promise: `memory of a stack with ${OPEN_CONNECTIONS} open connections ≤ 32 MiB`,
        measured: `${memory.connectionsMiB.toFixed(1)} MiB; the sandbox before them ${memory.idleMiB.toFixed(1)} MiB`,
        kept: memory.connectionsMiB <= 32,
      },
      {
        promise: "a network adds ≤ 10 ms to a start, p50",
        measured: `${without.p50.toFixed(0)} ms without, ${withNetwork.p50.toFixed(0)} ms with`,
        kept: withNetwork.p50 - without.p50 <= 10,
      },
      {
        promise: "starting 50 sandboxes with networks leaves the API's p99 under 50 ms",
        measured: `${p99(api.public).toFixed(0)} ms; ${p99(api.none).toFixed(0)} ms without networks`,
        kept: p99(api.public) < 50,
      },
    ],
    details: {
      memory,
      starts,
      api,
      traffic: { ours: Object.fromEntries(traffic.ours), slirp: Object.fromEntries(traffic.slirp) },
    },
  };
}

async function betweenGuestAndHost(bench: Workbench, peer: LoadPeer, rounds: number): Promise<Traffic> {
  await using ours = await sandboxGuest(bench, peer);
  await using slirp = await slirpGuest(bench, peer);
  return await measureTraffic({ ours, slirp }, rounds);
}

function atLeast(promise: string, value: number, bound: number): Verdict {
  return { promise, measured: value.toFixed(2), kept: value >= bound };
}

function p99(milliseconds: number[]): number {
  const sorted = [...milliseconds].sort((a, b) => a - b);
  return sorted[Math.ceil(0.99 * sorted.length) - 1] ?? Number.NaN;
}
