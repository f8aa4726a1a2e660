import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cp, lstat, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Daemon, Image, Sandbox } from "../src/sdk/index.ts";
import { fixture } from "../test/images/fixtures.ts";
import { RegistryProcess } from "../test/images/registry-process.ts";
import { run as runTool, skopeo } from "../test/images/tools.ts";
import { forgetPeak, measured, peakOf } from "./measured-process.ts";
import type { Report } from "./report.ts";
import { summarize } from "./statistics.ts";
import type { Workbench } from "./workbench.ts";

/**
 * What does it cost to get an image? From the same registry on the loopback, with a Debian with Python in six layers: (a) `msb pull`, after
 * which the image can run, against (b) `skopeo copy` and `umoci unpack --rootless`, after which its files lie in a folder. In turns;
 * between them all of it is removed, and the disks are given time to write.
 */

const MIB = 1024 ** 2;
/** The promises. */
const RATIO = 0.5;
const PEAK_MIB = 256;
const DISK = 1.1;

interface Side {
  ms: number[];
  peakMiB: number[];
  diskMiB: number[];
}

export async function run(bench: Workbench, n = 7): Promise<Report> {
  await using registry = await RegistryProcess.start();
  const work = await mkdtemp(join(tmpdir(), "msb-bench-image-"));
  try {
    return await compare(bench, registry, work, n);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function compare(
  bench: Workbench,
  registry: RegistryProcess,
  work: string,
  n: number,
): Promise<Report> {
  const { connection } = bench;
  const first = `${registry.host}/python:1`;
  const second = `${registry.host}/python:2`;
  await publish(registry, work);
  const ours: Side = { ms: [], peakMiB: [], diskMiB: [] };
  const theirs: Side = { ms: [], peakMiB: [], diskMiB: [] };
  const parts = {
    skopeo: [] as number[],
    umoci: [] as number[],
    daemon: [] as number[],
    client: [] as number[],
  };
  const cold: number[] = [];
  const warm: number[] = [];
  let layersMiB = 0;
  // The first of each pays for what is read from disk for the first time.
  for (let i = -1; i < n; i++) {
    const a = await pull(bench, first);
    const { layers } = await Image.inspect(first, { connection });
    layersMiB = layers.reduce((sum, { tarBytes }) => sum + tarBytes, 0) / MIB;
    const used = await timeWarm(bench, first);
    await bench.settle();
    await Image.remove(first, { connection });
    await written();
    const b = await unpack(registry, work);
    await written();
    const c = await timeCold(bench, first);
    await bench.settle();
    await Image.remove(first, { connection });
    await written();
    if (i < 0) continue;
    for (const [side, { ms, peakMiB, diskMiB }] of [
      [ours, a],
      [theirs, b],
    ] as const) {
      side.ms.push(ms);
      side.peakMiB.push(peakMiB);
      side.diskMiB.push(diskMiB);
    }
    parts.daemon.push(a.parts.daemon);
    parts.client.push(a.parts.client);
    parts.skopeo.push(b.parts.skopeo);
    parts.umoci.push(b.parts.umoci);
    warm.push(used);
    cold.push(c);
  }
  const sharing = await timeSharing(bench, registry, first, second);

  const [a, b] = [summarize(ours.ms), summarize(theirs.ms)];
  const peak = { ours: Math.max(...ours.peakMiB), theirs: Math.max(...theirs.peakMiB) };
  const disk = { ours: summarize(ours.diskMiB).p50, theirs: summarize(theirs.diskMiB).p50 };
  const ratio = a.p50 / b.p50;
  const row = (name: string, values: number[], unit: string) => {
    const { n, min, p50, p95 } = summarize(values);
    return [name, n, min, p50, p95, unit];
  };
  return {
    bench: "image",
    columns: ["", "n", "min", "p50", "p95", "unit"],
    rows: [
      row("(a) `msb pull`, ready to run", ours.ms, "ms"),
      row("(b) skopeo copy + umoci unpack --rootless", theirs.ms, "ms"),
      row("of (b): skopeo copy", parts.skopeo, "ms"),
      row("of (b): umoci unpack", parts.umoci, "ms"),
      row("(a) most memory: daemon and client", ours.peakMiB, "MiB"),
      row("of (a): daemon", parts.daemon, "MiB"),
      row("of (a): client", parts.client, "MiB"),
      row("(b) most memory: skopeo or umoci", theirs.peakMiB, "MiB"),
      row("(a) disk", ours.diskMiB, "MiB"),
      row("(b) disk: layout and root file system", theirs.diskMiB, "MiB"),
      row("the layers, uncompressed", [layersMiB], "MiB"),
      row("a second image on the same base: pull", [sharing.ms], "ms"),
      row("… downloaded", [sharing.downloadedMiB], "MiB"),
      row("… stored", [sharing.storedMiB], "MiB"),
      row("cold: `msb run` of an image that is not here", cold, "ms"),
      row("warm: create + first command", warm, "ms"),
    ],
    verdicts: [
      { promise: `pull ≤ ${RATIO} × theirs`, measured: ratio.toFixed(2), kept: ratio <= RATIO },
      {
        promise: `most memory < ${PEAK_MIB} MiB`,
        measured: `${peak.ours.toFixed(0)} MiB`,
        kept: peak.ours < PEAK_MIB,
      },
      {
        promise: `disk ≤ ${DISK} × the uncompressed layers`,
        measured: (disk.ours / layersMiB).toFixed(2),
        kept: disk.ours <= DISK * layersMiB,
      },
    ],
    details: { ours, theirs, parts, cold, warm, sharing, layersMiB },
  };
}

/** The image and another of the same base with a layer of its own, in the registry. */
async function publish(registry: RegistryProcess, work: string): Promise<void> {
  const { layout, tag } = await fixture("python");
  const push = (from: string, to: string) =>
    skopeo("copy", "--quiet", ...registry.skopeoFlags("dest"), from, registry.url(to));
  await push(`oci:${layout}:${tag}`, "python:1");
  const copy = join(work, "second");
  await cp(layout, copy, { recursive: true });
  await writeFile(join(work, "app.bin"), randomBytes(MIB));
  const tar = join(work, "app.tar");
  await runTool("tar", ["-cf", tar, "-C", work, "--owner=0", "--group=0", "app.bin"]);
  await runTool("umoci", ["raw", "add-layer", "--image", `${copy}:${tag}`, tar]);
  await push(`oci:${copy}:${tag}`, "python:2");
  await rm(copy, { recursive: true });
}

async function pull(bench: Workbench, reference: string) {
  const images = join(bench.home, "images");
  const pid = (await Daemon.status({ connection: bench.connection }))?.pid;
  if (pid === undefined) throw new Error("no daemon runs");
  const before = await diskBytes(images);
  await forgetPeak(pid);
  const { ms, peakMiB: client } = await msb(bench, ["pull", reference]);
  const daemon = await peakOf(pid);
  return {
    ms,
    parts: { daemon, client },
    // Both at their worst, which need not have been at the same time; what they share (Node itself) counts twice.
    peakMiB: daemon + client,
    diskMiB: ((await diskBytes(images)) - before) / MIB,
  };
}

async function unpack(registry: RegistryProcess, work: string) {
  const [layout, bundle] = [join(work, "layout"), join(work, "bundle")];
  const start = performance.now();
  const copy = ["copy", "--quiet", ...registry.skopeoFlags("src"), registry.url("python:1")];
  const a = await measured("skopeo", ["--insecure-policy", ...copy, `oci:${layout}:1`]);
  const b = await measured("umoci", ["unpack", "--rootless", "--image", `${layout}:1`, bundle]);
  const ms = performance.now() - start;
  const diskMiB = ((await diskBytes(layout)) + (await diskBytes(bundle))) / MIB;
  await rm(layout, { recursive: true });
  await rm(bundle, { recursive: true });
  const parts = { skopeo: a.ms, umoci: b.ms };
  return { ms, parts, peakMiB: Math.max(a.peakMiB, b.peakMiB), diskMiB };
}

async function timeCold(bench: Workbench, reference: string): Promise<number> {
  return (await msb(bench, ["run", reference, "--", "true"])).ms;
}

async function timeWarm(bench: Workbench, image: string): Promise<number> {
  const start = performance.now();
  const sandbox = await Sandbox.create({ image, connection: bench.connection });
  const { exitCode, stderr } = await sandbox.exec("true");
  const took = performance.now() - start;
  await sandbox.remove({ force: true });
  if (exitCode !== 0) throw new Error(`the first command ended with ${exitCode}: ${stderr}`);
  return took;
}

/** What a second image costs when most of its layers are here. */
async function timeSharing(bench: Workbench, registry: RegistryProcess, first: string, second: string) {
  await pull(bench, first);
  registry.requests.length = 0;
  const { ms, diskMiB } = await pull(bench, second);
  const blobs = registry.requests.filter(({ method, path }) => method === "GET" && path.includes("/blobs/"));
  const downloadedMiB = blobs.reduce((sum, { bytes }) => sum + bytes, 0) / MIB;
  return { ms, downloadedMiB, storedMiB: diskMiB };
}

function msb(bench: Workbench, args: string[]) {
  return measured(bench.msb, args, { MSB_HOME: bench.home });
}

/** What was written and removed before must not be paid for by what is measured next. */
async function written(): Promise<void> {
  await promisify(execFile)("sync");
}

/** What the files of a folder take; one with several names counts once. */
async function diskBytes(folder: string): Promise<number> {
  const seen = new Set<bigint>();
  let bytes = 0n;
  for (const path of await readdir(folder, { recursive: true })) {
    const { ino, blocks } = await lstat(join(folder, path), { bigint: true }).catch(() => ({
      ino: 0n,
      blocks: 0n,
    }));
    if (seen.has(ino)) continue;
    seen.add(ino);
    bytes += blocks * 512n;
  }
  return Number(bytes);
}
