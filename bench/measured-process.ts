import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 5;

export interface Measured {
  ms: number;
  /** The most memory that it had resident. */
  peakMiB: number;
  stdout: string;
}

/** Runs a program to its good end and measures it from outside. @throws with what it wrote to stderr */
export async function measured(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Measured> {
  const start = performance.now();
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  let peakMiB = 0;
  let ended = false;
  const end = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => {
    ended = true;
  });
  const watching = (async () => {
    // The kernel keeps the peak; only what grows within the last few milliseconds is missed.
    for (; !ended; await sleep(POLL_MS)) peakMiB = Math.max(peakMiB, await peakOf(child.pid!).catch(() => 0));
  })();
  const code = await end;
  const ms = performance.now() - start;
  await watching;
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}: ${stderr}`);
  return { ms, peakMiB, stdout };
}

/** The most memory that a process had resident since it started, or since `forgetPeak`. */
export async function peakOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "latin1");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
}

/** The peak starts anew with what is resident now. */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, "5");
}
