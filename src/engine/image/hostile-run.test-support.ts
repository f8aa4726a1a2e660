/**
 * Takes in every hostile layer, one after the other, in a process of its own with little memory, and prints what each cost:
 * `node --expose-gc --max-old-space-size=N hostile-run.test-support.ts FOLDER`, one JSON object a line.
 */

import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SandboxError } from "../../contract/errors.ts";
import { buildTar, inChunks } from "../../tar/tar-builder.test-support.ts";
import { HOSTILE_LAYERS, type HostileLayer } from "./hostile-layers.test-support.ts";
import { type Digest, ImageStore, newOciImage, sha256 } from "./index.ts";
import { describeForTest } from "./workspace.test-support.ts";

export interface HostileOutcome {
  name: string;
  code: string;
  message: string;
  /** Of the error's details. */
  layer: string | undefined;
  /** Of the layer, where it was taken in before it was refused. */
  digest: Digest | undefined;
  ms: number;
  /** By how much the process grew at most. */
  grownMiB: number;
  diskMiB: number;
  /** Files of the store that were not there before, or have another size, after a sweep. */
  left: string[];
}

/** What a registry would have called the layer, where it never becomes known what it is. */
export const CLAIMED: Digest = `sha256:${"0".repeat(64)}`;
const MIB = 2 ** 20;
const POLL_MS = 100;
/** Never fires. */
const { signal } = new AbortController();

const folder = process.argv[2];
if (folder !== undefined) await runAll(folder);

async function runAll(folder: string): Promise<void> {
  for (const [i, layer] of HOSTILE_LAYERS.entries()) {
    const outcome = await run(layer, join(folder, String(i)));
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
}

async function run(layer: HostileLayer, directory: string): Promise<HostileOutcome> {
  const store = await ImageStore.open({
    directory,
    describeDisk: describeForTest,
    ...(layer.limits && { limits: layer.limits }),
  });
  // There is something to be harmed.
  const source = inChunks(buildTar([{ path: "etc/passwd", data: Buffer.from("root") }]));
  using base = await store.ingestLayer({ source, what: "the base" });
  await store.addImage({ config: newOciImage([base.facts.digest], {}, "a test"), name: "victim" });
  const before = filesOf(directory);

  globalThis.gc?.();
  writeFileSync("/proc/self/clear_refs", "5"); // the peak starts anew: proc_pid_clear_refs(5)
  const residentBefore = status("VmRSS");
  let diskMiB = 0;
  const measure = () => {
    diskMiB = Math.max(diskMiB, diskBytes(directory) / MIB);
  };
  const poll = setInterval(measure, POLL_MS);
  const start = performance.now();
  const result = await attempt(store, layer, measure);
  const ms = performance.now() - start;
  clearInterval(poll);
  const grownMiB = (status("VmHWM") - residentBefore) / 1024;
  if (result.code === "none") await store.remove("hostile");
  await store.sweep({ inUse: [] });
  const left = [...filesOf(directory)].filter(([path, size]) => before.get(path) !== size);
  for (const path of before.keys()) if (!filesOf(directory).has(path)) left.push([`without ${path}`, 0]);
  return { name: layer.name, ...result, ms, grownMiB, diskMiB, left: left.map(([path]) => path) };
}

async function attempt(store: ImageStore, layer: HostileLayer, measure: () => void) {
  const known: { digest: Digest | undefined } = { digest: undefined };
  try {
    using taken = await store.ingestLayer({
      source: layer.tar(),
      what: "layer of a stranger",
      expected: layer.fate === "refused" ? CLAIMED : undefined,
      signal, // as whoever pulls gives one: what waits for it must not keep what has passed
    });
    known.digest = taken.facts.digest;
    measure();
    const config = newOciImage([known.digest], {}, "a test");
    using _hold = store.hold(sha256(config));
    await store.addImage({ config, name: "hostile" });
    measure();
    return { code: "none", message: "", layer: undefined, ...known };
  } catch (error) {
    const { code, message, details } = SandboxError.from(error);
    return { code, message, layer: details?.layer as string | undefined, ...known };
  }
}

function filesOf(directory: string): Map<string, number> {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
  return new Map(
    files.map((path) => {
      const stat = statSync(join(directory, path));
      return [path, stat.isFile() ? stat.size : 0];
    }),
  );
}

function diskBytes(directory: string): number {
  let bytes = 0;
  for (const path of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const stat = statSync(join(directory, path), { throwIfNoEntry: false });
    if (stat?.isFile()) bytes += (stat.blocks * 512) / stat.nlink;
  }
  return bytes;
}

/** A size of this process in KiB, as the kernel counts it. */
function status(field: string): number {
  return Number(
    new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync("/proc/self/status", "latin1"))?.[1],
  );
}
