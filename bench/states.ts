import { readFile } from "node:fs/promises";
import { events, Sandbox, type Snapshot } from "../src/sdk/index.ts";
import { timeClaims } from "./claims.ts";
import type { Report } from "./report.ts";
import { summarize } from "./statistics.ts";
import { IMAGE, type Workbench } from "./workbench.ts";

/**
 * What do stored states cost? Pause and resume, suspension, snapshots, forks and what is loaded of them, beside the start of a sandbox of
 * a template in the same run; by memory that was written since, by children, and by the length of the chain.
 */
const DIRTY_MIB = [1, 25, 250, 1000];
const CHILDREN = [1, 10, 50];
const CHAIN = 6;
/** What is promised of 25 MiB: a start writes 13 by itself. */
const WRITTEN_MIB = 12;

export async function run(bench: Workbench, n = 10): Promise<Report> {
  const rows: Report["rows"] = [];
  const measured = new Map<string, number[]>();
  const note = (name: string, ms: number) => measured.set(name, [...(measured.get(name) ?? []), ms]);
  const p50 = (name: string) => summarize(measured.get(name)!).p50;
  const p95 = (name: string) => summarize(measured.get(name)!).p95;

  const parent = await dirtySandbox(bench, WRITTEN_MIB);
  const stills = await Standstills.listen(bench);
  for (let i = -1; i < n; i++) {
    const keep = i >= 0 ? note : () => {};
    keep("template: create + first command", await time(() => createAndRemove(bench)));
    await bench.settle(1);
    const [child, forkMs] = await timed(async () => (await parent.fork())[0]!);
    const [, firstMs] = await timed(() => child.exec("true"));
    keep("fork + first command of the child", forkMs + firstMs);
    keep("fork: processes of the parent stand still", await stills.next());
    await child.remove({ force: true });
    await bench.settle(1);
    const [snapshot, snapshotMs] = await timed(() => parent.snapshot({ name: `s${i + 1}` }));
    keep("snapshot", snapshotMs);
    await stills.next();
    const [restored, restoreMs] = await timed(async () => (await snapshot.restore())[0]!);
    keep(
      "restore + first command, the first of a snapshot",
      restoreMs + (await time(() => restored.exec("true"))),
    );
    await bench.settle(2);
    const [again, againMs] = await timed(async () => (await snapshot.restore())[0]!);
    keep("restore + first command", againMs + (await time(() => again.exec("true"))));
    await again.remove({ force: true });
    await bench.settle(2);
    await restored.remove({ force: true });
    // Of all that it has changed, not of what a restored one has since.
    const fresh = await dirtySandbox(bench, WRITTEN_MIB);
    keep("suspend", await time(() => fresh.suspend()));
    keep("resume of a suspended one + first command", await time(() => fresh.exec("true")));
    await fresh.remove({ force: true });
    await snapshot.remove();
    await bench.settle(1);
    keep("pause", await time(() => parent.pause()));
    keep("resume", await time(() => parent.resume()));
  }
  await bench.settle(1);
  const claims = await timeClaims(bench, 2 * n);
  measured.set("claim of a pool's VM", claims.claim);
  measured.set("claim + first command", claims.first);
  for (const [name, values] of measured) {
    const { n: count, min, p50: middle, p95: high } = summarize(values);
    rows.push([name, count, min, middle, high]);
  }

  const grown = await byMemory(bench, stills, rows);
  const many = await byChildren(bench, parent, rows);
  const chain = await byChain(bench, parent, stills, rows);
  const template = p50("template: create + first command");
  const ratio = (ms: number) => ms / template;
  const verdict = (promise: string, value: number, most: number, unit = "") => ({
    promise,
    measured: `${value.toFixed(unit === "" ? 2 : 1)}${unit}`,
    kept: value <= most,
  });
  return {
    bench: "states",
    columns: ["", "n", "min ms", "p50 ms", "p95 ms"],
    rows,
    verdicts: [
      verdict("pool: claim + first command p50 ≤ 20 ms", p50("claim + first command"), 20, " ms"),
      verdict("pool: claim + first command p95 ≤ 40 ms", p95("claim + first command"), 40, " ms"),
      verdict(
        "fork: the parent's processes stand still p50 ≤ 40 ms",
        p50("fork: processes of the parent stand still"),
        40,
        " ms",
      ),
      verdict(
        "fork: child's first output ≤ 1.3 × a template's",
        ratio(p50("fork + first command of the child")),
        1.3,
      ),
      verdict("restore ≤ 1.2 × a template's", ratio(p50("restore + first command")), 1.2),
      verdict(`restore at the end of a chain of ${CHAIN} ≤ 1.2 × a template's`, ratio(chain), 1.2),
      verdict("suspend p50 ≤ 150 ms", p50("suspend"), 150, " ms"),
      verdict("pause p50 ≤ 5 ms", p50("pause"), 5, " ms"),
      verdict("resume p50 ≤ 5 ms", p50("resume"), 5, " ms"),
      verdict("10 children: private memory ≤ 48 MiB each", many, 48, " MiB"),
      verdict("a snapshot's space ≤ 1.2 × what was written", grown, 1.2),
    ],
    details: { measured: Object.fromEntries(measured), p95: p95("fork + first command of the child") },
  };
}

/** @returns the worst ratio of a snapshot's space to what had been written since the template */
async function byMemory(bench: Workbench, stills: Standstills, rows: Report["rows"]): Promise<number> {
  let worst = 0;
  for (const mib of DIRTY_MIB) {
    const sandbox = await dirtySandbox(bench, mib);
    const [snapshot, ms] = await timed(() => sandbox.snapshot());
    const still = await stills.next();
    rows.push(
      [`snapshot of ${mib} MiB written: stands still`, 1, still, still, still],
      [`snapshot of ${mib} MiB written`, 1, ms, ms, ms],
    );
    const { memory, disks } = snapshot.info.bytes;
    const stored = (memory + disks) / 1024 ** 2;
    rows.push([`snapshot of ${mib} MiB written: MiB on disk`, 1, stored, stored, stored]);
    // What a sandbox that writes nothing has written by itself.
    if (mib >= 25) worst = Math.max(worst, stored / (mib + (await ownMiB(bench, stills))));
    const [restored, restoreMs] = await timed(async () => (await snapshot.restore())[0]!);
    rows.push([`restore of ${mib} MiB written`, 1, restoreMs, restoreMs, restoreMs]);
    await restored.remove({ force: true });
    const suspendMs = await time(() => sandbox.suspend());
    rows.push([`suspend of ${mib} MiB written`, 1, suspendMs, suspendMs, suspendMs]);
    await sandbox.remove({ force: true });
    await snapshot.remove();
    await bench.settle(1);
  }
  return worst;
}

let own: number | undefined;

async function ownMiB(bench: Workbench, stills: Standstills): Promise<number> {
  if (own !== undefined) return own;
  const sandbox = await Sandbox.create({ image: IMAGE, connection: bench.connection });
  await sandbox.exec("true");
  const snapshot = await sandbox.snapshot();
  await stills.next();
  own = (snapshot.info.bytes.memory + snapshot.info.bytes.disks) / 1024 ** 2;
  await sandbox.remove({ force: true });
  await snapshot.remove();
  return own;
}

/** @returns private MiB of each of ten children, the most */
async function byChildren(bench: Workbench, parent: Sandbox, rows: Report["rows"]): Promise<number> {
  let ten = 0;
  for (const count of CHILDREN) {
    const before = new Set(await bench.vmPids());
    const [children, ms] = await timed(() => parent.fork({ count }));
    await Promise.all(children.map((child) => child.exec("true")));
    const pids = (await bench.vmPids()).filter((pid) => !before.has(pid));
    const most = Math.max(...(await Promise.all(pids.map(privateMiB))));
    rows.push(
      [`fork of ${count}: ms each`, count, ms / count, ms / count, ms / count],
      [`fork of ${count}: private MiB, the most`, count, most, most, most],
    );
    if (count === 10) ten = most;
    for (const child of children) await child.remove({ force: true });
    await bench.settle(1);
  }
  return ten;
}

/** @returns restore and first command at its end, p50 */
async function byChain(
  bench: Workbench,
  parent: Sandbox,
  stills: Standstills,
  rows: Report["rows"],
): Promise<number> {
  const snapshots: Snapshot[] = [];
  let sandbox = parent;
  for (let link = 0; link < CHAIN; link++) {
    await sandbox.exec("sh", ["-c", `head -c 1000000 /dev/urandom > /root/link${link}`]);
    const snapshot = await sandbox.snapshot({ name: `chain${link}` });
    await stills.next();
    snapshots.push(snapshot);
    if (sandbox !== parent) await sandbox.remove({ force: true });
    sandbox = (await snapshot.restore())[0]!;
  }
  await sandbox.remove({ force: true });
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const [restored, ms] = await timed(async () => (await snapshots.at(-1)!.restore())[0]!);
    times.push(ms + (await time(() => restored.exec("true"))));
    await restored.remove({ force: true });
    await bench.settle(1);
  }
  const { n, min, p50, p95 } = summarize(times);
  rows.push([`restore + first command at the end of a chain of ${CHAIN}`, n, min, p50, p95]);
  for (const snapshot of snapshots) await snapshot.remove();
  return p50;
}

/** One that has written so much to its memory. */
async function dirtySandbox(bench: Workbench, mib: number): Promise<Sandbox> {
  const memoryMiB = mib > 150 ? 3072 : 256;
  const sandbox = await Sandbox.create({ image: IMAGE, memoryMiB, connection: bench.connection });
  const write = `dd if=/dev/urandom of=/dev/shm/dirty bs=1M count=${mib}`;
  const { exitCode, stderr } = await sandbox.exec("sh", ["-c", write]);
  if (exitCode !== 0) throw new Error(`${mib} MiB could not be written: ${stderr}`);
  return sandbox;
}

async function createAndRemove(bench: Workbench): Promise<() => Promise<void>> {
  const sandbox = await Sandbox.create({ image: IMAGE, connection: bench.connection });
  await sandbox.exec("true");
  return () => sandbox.remove({ force: true });
}

/** Milliseconds of `work`, and not of what it returns to be done afterwards. */
async function time(work: () => Promise<unknown>): Promise<number> {
  const [after, ms] = await timed(work);
  if (typeof after === "function") await after();
  return ms;
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

async function privateMiB(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "latin1");
  return Number(/^Anonymous:\s+(\d+)/m.exec(rollup)?.[1]) / 1024;
}

/** How long sandboxes stood still for their states, as the daemon tells. */
class Standstills {
  readonly #values: number[] = [];
  #wake: () => void = () => {};

  static async listen({ connection }: Workbench): Promise<Standstills> {
    const stills = new Standstills();
    void (async () => {
      for await (const { type, data } of events({ connection })) {
        if (type !== "sandbox.stored") continue;
        stills.#values.push(Number(data?.standstillMs));
        stills.#wake();
      }
    })();
    return stills;
  }

  async next(): Promise<number> {
    while (this.#values.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#values.shift()!;
  }
}
