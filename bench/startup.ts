import { spawn } from "node:child_process";
import { Sandbox, type Span } from "../src/sdk/index.ts";
import { runRaw, startFloor } from "./floor.ts";
import type { Report } from "./report.ts";
import { summarize } from "./statistics.ts";
import { IMAGE, type Workbench } from "./workbench.ts";

/**
 * How fast does a sandbox start? (a) the floor, (b) create and first command through the SDK, (c) `msb run` as a whole
 * process; interleaved, each at least 30 times.
 */
export async function run(bench: Workbench, n = 30): Promise<Report> {
  const floor: number[] = [];
  const sdk: number[] = [];
  const cli: number[] = [];
  const spans = new Map<string, number[]>();
  // The first of each pays for what is read from disk for the first time.
  for (let i = -2; i < n; i++) {
    const kept = i >= 0;
    const a = await timeFloor(bench);
    await bench.settle();
    const b = await timeSdk(bench, kept ? spans : new Map());
    await bench.settle();
    const c = await timeCli(bench);
    await bench.settle();
    if (!kept) continue;
    floor.push(a);
    sdk.push(b);
    cli.push(c);
  }
  const [a, b, c] = [summarize(floor), summarize(sdk), summarize(cli)];
  const row = (name: string, s: typeof a) => [name, s.n, s.min, s.p50, s.p95];
  const ratio = b.p50 / a.p50;
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  return {
    bench: "startup",
    columns: ["", "n", "min ms", "p50 ms", "p95 ms"],
    rows: [
      row("(a) floor: bare QEMU, raw protocol", a),
      row("(b) SDK: create + first command", b),
      row("(c) `msb run msb/base -- true`, whole process", c),
      ...[...spans].map(([name, values]) => row(`of (b): ${name}`, summarize(values))),
    ],
    verdicts: [
      { promise: "(b) p50 ≤ 1.35 × floor", measured: ratio.toFixed(2), kept: ratio <= 1.35 },
      { promise: "(b) p50 ≤ 250 ms", measured: ms(b.p50), kept: b.p50 <= 250 },
      { promise: "(b) p95 ≤ 300 ms", measured: ms(b.p95), kept: b.p95 <= 300 },
      { promise: "(c) p50 ≤ (b) p50 + 90 ms", measured: `+ ${ms(c.p50 - b.p50)}`, kept: c.p50 <= b.p50 + 90 },
    ],
    details: { floor, sdk, cli, spans: Object.fromEntries(spans) },
  };
}

async function timeFloor(bench: Workbench): Promise<number> {
  const start = performance.now();
  const floor = await startFloor(bench);
  await runRaw(floor.agent, 1, ["true"]);
  const took = performance.now() - start;
  await floor.end();
  return took;
}

async function timeSdk(bench: Workbench, spans: Map<string, number[]>): Promise<number> {
  const start = performance.now();
  const sandbox = await Sandbox.create({ image: IMAGE, connection: bench.connection });
  await sandbox.exec("true");
  const took = performance.now() - start;
  for (const { name, durationMs } of sandbox.info.timings as Span[]) {
    spans.set(name, [...(spans.get(name) ?? []), durationMs]);
  }
  await sandbox.remove({ force: true });
  return took;
}

async function timeCli(bench: Workbench): Promise<number> {
  const start = performance.now();
  const code = await new Promise((resolve) => {
    spawn(bench.msb, ["run", IMAGE, "--", "true"], {
      stdio: "inherit",
      env: { ...process.env, MSB_HOME: bench.home },
    }).once("exit", resolve);
  });
  if (code !== 0) throw new Error(`msb run ended with ${code}`);
  return performance.now() - start;
}
