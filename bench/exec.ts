import { Sandbox } from "../src/sdk/index.ts";
import { runRaw, startFloor } from "./floor.ts";
import type { Report } from "./report.ts";
import { summarize } from "./statistics.ts";
import { IMAGE, type Workbench } from "./workbench.ts";

/** What does a process in a running sandbox cost? Round trip of a warm `true`, and bytes a second through stdout and stdin. */
const BYTES = 64 * 1024 * 1024;
const WARM_UP = 5;

export async function run(bench: Workbench, n = 50): Promise<Report> {
  const floor = await startFloor(bench);
  const sandbox = await Sandbox.create({ image: IMAGE, connection: bench.connection });
  try {
    const raw: number[] = [];
    const sdk: number[] = [];
    for (let i = -WARM_UP; i < n; i++) {
      const a = await timed(() => runRaw(floor.agent, i + WARM_UP + 1, ["true"]));
      const b = await timed(() => sandbox.exec("true"));
      if (i < 0) continue;
      raw.push(a);
      sdk.push(b);
    }
    const stdout = await throughput(3, () => readMuch(sandbox));
    const stdin = await throughput(3, () => writeMuch(sandbox));
    const [a, b] = [summarize(raw), summarize(sdk)];
    return {
      bench: "exec",
      columns: ["", "n", "min", "p50", "p95", "unit"],
      rows: [
        ["raw protocol: warm `true`", a.n, a.min, a.p50, a.p95, "ms"],
        ["SDK: warm `true`", b.n, b.min, b.p50, b.p95, "ms"],
        ["stdout through the SDK", 3, stdout.min, stdout.p50, stdout.p95, "MB/s"],
        ["stdin through the SDK", 3, stdin.min, stdin.p50, stdin.p95, "MB/s"],
      ],
      verdicts: [],
      details: { raw, sdk, stdout, stdin },
    };
  } finally {
    await floor.end();
    await sandbox.remove({ force: true });
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function throughput(times: number, work: () => Promise<unknown>) {
  const rates: number[] = [];
  for (let i = 0; i < times; i++) rates.push(BYTES / 1e6 / ((await timed(work)) / 1000));
  return summarize(rates);
}

async function readMuch(sandbox: Sandbox): Promise<void> {
  const process = sandbox.execStream("dd", ["if=/dev/zero", "bs=65536", `count=${BYTES / 65_536}`]);
  let bytes = 0;
  for await (const event of process)
    if ("data" in event && event.stream === "stdout") bytes += event.data.length;
  if (bytes !== BYTES) throw new Error(`${bytes} bytes came, ${BYTES} were sent`);
}

async function writeMuch(sandbox: Sandbox): Promise<void> {
  const process = sandbox.execStream("wc", ["-c"]);
  const chunk = Buffer.alloc(256 * 1024);
  for (let sent = 0; sent < BYTES; sent += chunk.length) await process.stdin.write(chunk);
  await process.stdin.end();
  let seen = "";
  for await (const event of process) if ("data" in event) seen += event.data.toString();
  if (Number(seen) !== BYTES) throw new Error(`the guest counted ${seen.trim()} bytes, ${BYTES} were sent`);
}
