import { Template } from "../src/sdk/index.ts";
import type { Report } from "./report.ts";
import { summarize } from "./statistics.ts";
import { SHAPE, type Workbench } from "./workbench.ts";

/** What does the one boot per shape cost? Cold boot to the stored state, as the template's manifest tells it. */
export async function run(bench: Workbench, n = 5): Promise<Report> {
  const { connection } = bench;
  const times: number[] = [];
  const memory: number[] = [];
  for (let i = 0; i < n; i++) {
    for (const { key } of await Template.list({ connection })) await Template.remove(key, { connection });
    const { buildMs, memoryBytes } = await Template.build(SHAPE, { connection });
    times.push(buildMs);
    memory.push(memoryBytes / 1024 ** 2);
  }
  const [t, m] = [summarize(times), summarize(memory)];
  return {
    bench: "boot",
    columns: ["", "n", "min", "p50", "p95", "unit"],
    rows: [
      ["cold boot to stored template", t.n, t.min, t.p50, t.p95, "ms"],
      ["memory on disk", m.n, m.min, m.p50, m.p95, "MiB"],
    ],
    verdicts: [],
    details: { times, memory },
  };
}
