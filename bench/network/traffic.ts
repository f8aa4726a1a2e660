import { summarize } from "../statistics.ts";
import type { LoadGuest } from "./guests.ts";
import type { LoadKind, LoadResult } from "./load.ts";

/** What passes between a guest and the host: both guests in turns, with one connection and with many at a time. */

export const CONNECTIONS = [1, 8, 64] as const;
const BYTES = 64 * 1024 * 1024;
const ASKING_MS = 2_000;
const AMOUNT: Record<LoadKind, number> = {
  send: BYTES,
  receive: BYTES,
  request: ASKING_MS,
  echo: ASKING_MS,
};
const KINDS = Object.keys(AMOUNT) as LoadKind[];

/** Of one guest, of one kind and number of connections; one value a round. */
export interface Series {
  /** MB/s, or questions a second. */
  rate: number[];
  /** CPU seconds per GB, or per 1,000 questions. */
  vmmCpu: number[];
  daemonCpu: number[];
  /** Of each question. */
  milliseconds: number[];
}

export type Traffic = Record<"ours" | "slirp", Map<string, Series>>;

export const seriesKey = (kind: LoadKind, connections: number) => `${kind} ${connections}`;

export async function measureTraffic(
  guests: Record<"ours" | "slirp", LoadGuest>,
  rounds: number,
): Promise<Traffic> {
  const traffic: Traffic = { ours: new Map(), slirp: new Map() };
  // The first round pays for code that runs for the first time, in guests and in the daemon.
  for (let round = -1; round < rounds; round++)
    for (const kind of KINDS)
      for (const connections of CONNECTIONS)
        for (const side of ["slirp", "ours"] as const) {
          const taken = await measureOnce(guests[side], kind, connections);
          if (round >= 0) add(traffic[side], seriesKey(kind, connections), taken);
        }
  return traffic;
}

async function measureOnce(guest: LoadGuest, kind: LoadKind, connections: number): Promise<Series> {
  const before = await guest.cpuSeconds();
  const result = await guest.run(kind, connections, AMOUNT[kind]);
  const after = await guest.cpuSeconds();
  const amount = amountOf(result, kind);
  return {
    rate: [amount / result.seconds],
    vmmCpu: [((after.vmm - before.vmm) / amount) * 1000],
    daemonCpu: [((after.daemon - before.daemon) / amount) * 1000],
    milliseconds: result.milliseconds ?? [],
  };
}

/** MB, or questions. @throws if not all bytes arrived */
function amountOf({ bytes, milliseconds = [] }: LoadResult, kind: LoadKind): number {
  if (kind === "request" || kind === "echo") return milliseconds.length;
  if (bytes !== BYTES) throw new Error(`${bytes} bytes arrived, ${BYTES} were sent`);
  return bytes / 1e6;
}

function add(all: Map<string, Series>, key: string, taken: Series): void {
  const known = all.get(key);
  if (known === undefined) all.set(key, taken);
  else for (const name of Object.keys(taken) as (keyof Series)[]) known[name].push(...taken[name]);
}

/** The median of ours in terms of the other's. */
export function ratioOf(traffic: Traffic, kind: LoadKind, connections: number): number {
  const key = seriesKey(kind, connections);
  return summarize(traffic.ours.get(key)!.rate).p50 / summarize(traffic.slirp.get(key)!.rate).p50;
}

const NAMES: Record<LoadKind, string> = {
  send: "guest → host, MB/s",
  receive: "host → guest, MB/s",
  request: "short HTTP connections a second",
  echo: "round trips a second, 64 bytes",
};

export const TRAFFIC_COLUMNS = [
  "",
  "connections",
  "slirp",
  "ours",
  "ratio",
  "CPU s, slirp: QEMU",
  "ours: QEMU",
  "ours: daemon",
  "ms p50 / p99, slirp",
  "ours",
];

/** A row for each kind and number of connections; CPU seconds are per GB, or per 1,000 questions. */
export function trafficRows(traffic: Traffic): (string | number)[][] {
  return KINDS.flatMap((kind) =>
    CONNECTIONS.map((connections) => {
      const [ours, slirp] = [traffic.ours, traffic.slirp].map(
        (side) => side.get(seriesKey(kind, connections))!,
      ) as [Series, Series];
      const median = (values: number[]) => summarize(values).p50;
      return [
        NAMES[kind],
        String(connections),
        median(slirp.rate),
        median(ours.rate),
        ratioOf(traffic, kind, connections).toFixed(2),
        median(slirp.vmmCpu).toFixed(2),
        median(ours.vmmCpu).toFixed(2),
        median(ours.daemonCpu).toFixed(2),
        percentiles(slirp.milliseconds),
        percentiles(ours.milliseconds),
      ];
    }),
  );
}

function percentiles(milliseconds: number[]): string {
  if (milliseconds.length === 0) return "";
  const sorted = [...milliseconds].sort((a, b) => a - b);
  const [p50, p99] = [0.5, 0.99].map((p) => sorted[Math.ceil(p * sorted.length) - 1]!) as [number, number];
  return `${p50.toFixed(1)} / ${p99.toFixed(1)}`;
}
