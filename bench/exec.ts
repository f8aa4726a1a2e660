import type { AgentConnection } from "../src/engine/guest/index.ts";
import { Sandbox } from "../src/sdk/index.ts";
import { runRaw, startFloor } from "./floor.ts";
import type { Report, Verdict } from "./report.ts";
import { summarize } from "./statistics.ts";
import { IMAGE, type Workbench } from "./workbench.ts";

/**
 * What does a process in a running sandbox cost? Round trip of a warm `true`, and bytes a second through stdout and stdin, against the
 * same over the bare protocol: one connection to the agent of a bare QEMU, without jail, daemon, log and API. That is as near to fork and
 * exec in the guest and to the virtio-serial port as anything on the host can come, since the agent owns the port.
 */
const BYTES = 32 * 1024 * 1024;
const WARM_UP = 5;
const CHUNK = Buffer.alloc(256 * 1024);
const PATH = { PATH: "/bin:/usr/bin" };
/** Writes `BYTES` to stdout; counts what comes from stdin. */
const READ = ["dd", "if=/dev/zero", "bs=65536", `count=${BYTES / 65_536}`];
const WRITE = ["sh", "-c", "cat >/dev/null && echo read"];

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
    const rates = { rawOut: [] as number[], out: [] as number[], rawIn: [] as number[], in: [] as number[] };
    for (let i = 0; i < 5; i++) {
      const channel = 1_000 + 2 * i;
      rates.rawOut.push(await megabytesPerSecond(() => readMuchRaw(floor.agent, channel)));
      rates.out.push(await megabytesPerSecond(() => readMuch(sandbox)));
      rates.rawIn.push(await megabytesPerSecond(() => writeMuchRaw(floor.agent, channel + 1)));
      rates.in.push(await megabytesPerSecond(() => writeMuch(sandbox)));
    }
    const [a, b] = [summarize(raw), summarize(sdk)];
    const rate = (name: string, values: number[]) => {
      const { n, min, p50, p95 } = summarize(values);
      return [name, n, min, p50, p95, "MB/s"];
    };
    return {
      bench: "exec",
      columns: ["", "n", "min", "p50", "p95", "unit"],
      rows: [
        ["raw protocol: warm `true`", a.n, a.min, a.p50, a.p95, "ms"],
        ["SDK: warm `true`", b.n, b.min, b.p50, b.p95, "ms"],
        rate("raw protocol: stdout", rates.rawOut),
        rate("SDK: stdout", rates.out),
        rate("raw protocol: stdin", rates.rawIn),
        rate("SDK: stdin", rates.in),
      ],
      verdicts: [
        atMost("warm `true`, p50 ≤ 1.3 × the raw protocol's", b.p50 / a.p50, 1.3),
        atLeast("stdout, p50 ≥ 0.6 × the raw protocol's", ratio(rates.out, rates.rawOut), 0.6),
        atLeast("stdin, p50 ≥ 0.6 × the raw protocol's", ratio(rates.in, rates.rawIn), 0.6),
      ],
      details: { raw, sdk, rates },
    };
  } finally {
    await floor.end();
    await sandbox.remove({ force: true });
  }
}

const ratio = (ours: number[], theirs: number[]) => summarize(ours).p50 / summarize(theirs).p50;

function atMost(promise: string, value: number, bound: number): Verdict {
  return { promise, measured: value.toFixed(2), kept: value <= bound };
}

function atLeast(promise: string, value: number, bound: number): Verdict {
  return { promise, measured: value.toFixed(2), kept: value >= bound };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function megabytesPerSecond(work: () => Promise<unknown>): Promise<number> {
  return BYTES / 1e6 / ((await timed(work)) / 1000);
}

/** Through the agent's protocol alone: acknowledged as soon as it comes. */
async function readMuchRaw(agent: AgentConnection, channel: number): Promise<void> {
  const process = await agent.start(channel, { argv: READ, env: PATH });
  let bytes = 0;
  process.onOutput((stream, offset, chunk) => {
    if (stream === "stdout") bytes += chunk.length;
    process.ack(stream, offset + chunk.length);
  });
  await process.exited;
  process.release();
  if (bytes !== BYTES) throw new Error(`${bytes} bytes came, ${BYTES} were sent`);
}

async function writeMuchRaw(agent: AgentConnection, channel: number): Promise<void> {
  const process = await agent.start(channel, { argv: WRITE, env: PATH, stdin: true });
  let seen = "";
  process.onOutput((_, __, chunk) => {
    seen += chunk.toString();
  });
  for (let sent = 0; sent < BYTES; sent += CHUNK.length) await process.write(CHUNK);
  process.endStdin();
  await process.exited;
  process.release();
  if (seen !== "read\n") throw new Error(`the guest did not read to the end: ${seen}`);
}

async function readMuch(sandbox: Sandbox): Promise<void> {
  const process = sandbox.execStream(READ[0]!, READ.slice(1));
  let bytes = 0;
  for await (const event of process)
    if ("data" in event && event.stream === "stdout") bytes += event.data.length;
  if (bytes !== BYTES) throw new Error(`${bytes} bytes came, ${BYTES} were sent`);
}

async function writeMuch(sandbox: Sandbox): Promise<void> {
  const process = sandbox.execStream(WRITE[0]!, WRITE.slice(1));
  for (let sent = 0; sent < BYTES; sent += CHUNK.length) await process.stdin.write(CHUNK);
  await process.stdin.end();
  let seen = "";
  for await (const event of process) if ("data" in event) seen += event.data.toString();
  if (seen !== "read\n") throw new Error(`the guest did not read to the end: ${seen}`);
}
