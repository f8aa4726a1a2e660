import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Sandbox } from "../src/sdk/index.ts";
import { cpuSeconds } from "./cpu-seconds.ts";
import type { Report } from "./report.ts";
import { IMAGE, type Workbench } from "./workbench.ts";

/** How many sandboxes fit? Private memory, idle CPU and start time with 1, 10 and 50 of them. */
const COUNTS = [1, 10, 50];
const IDLE_MS = 10_000;

export async function run(bench: Workbench): Promise<Report> {
  const startMs: number[] = [];
  const rows: Report["rows"] = [];
  const details: object[] = [];
  let worstMiB = 0;
  for (const count of COUNTS) {
    while (startMs.length < count) startMs.push(await startOne(bench));
    const pids = await bench.vmPids();
    if (pids.length !== count) throw new Error(`${pids.length} VMs run, ${count} should`);
    const privateMiB = (await Promise.all(pids.map(privateBytes))).map((bytes) => bytes / 1024 ** 2);
    const before = await cpuSeconds(pids);
    await sleep(IDLE_MS);
    const idlePercent = (((await cpuSeconds(pids)) - before) / (IDLE_MS / 1000) / count) * 100;
    const mean = privateMiB.reduce((a, b) => a + b, 0) / count;
    const most = Math.max(...privateMiB);
    worstMiB = Math.max(worstMiB, most);
    rows.push([count, mean, most, idlePercent, startMs.at(-1)!]);
    details.push({ count, privateMiB, idlePercent });
  }
  // One start says little on a noisy machine: the medians of the first and the last five.
  const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;
  const ratio = median(startMs.slice(-5)) / median(startMs.slice(0, 5));
  return {
    bench: "density",
    columns: ["sandboxes", "private MiB each", "most", "idle CPU % each", "start of the last, ms"],
    rows,
    verdicts: [
      {
        promise: "private memory ≤ 48 MiB each",
        measured: `${worstMiB.toFixed(1)} MiB`,
        kept: worstMiB <= 48,
      },
      { promise: "start of the 50th ≤ 1.5 × the first", measured: ratio.toFixed(2), kept: ratio <= 1.5 },
    ],
    details: { counts: details, startMs },
  };
}

async function startOne(bench: Workbench): Promise<number> {
  const start = performance.now();
  const sandbox = await Sandbox.create({ image: IMAGE, connection: bench.connection });
  await sandbox.exec("true");
  return performance.now() - start;
}

/**
 * Memory that goes with the sandbox: anonymous pages, among them those of the template that it has written. Pages of files that
 * only one process happens to map (Private_Clean, Private_Dirty) are the page cache's, and the next sandbox shares them.
 */
async function privateBytes(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "latin1");
  return Number(/^Anonymous:\s+(\d+)/m.exec(rollup)?.[1]) * 1024;
}
