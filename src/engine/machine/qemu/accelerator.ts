import { createHash } from "node:crypto";
import { access, constants, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { release } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Machine } from "../machine.ts";
import type { Accelerator } from "./arguments.ts";

/**
 * Which accelerator this host really has.
 *
 * `/dev/kvm` may exist, open, answer and even make a VM, and still not run a stock kernel: on such a host the guest
 * spins for ever in its boot loader. So a hardware accelerator counts only once it booted our own kernel to the first
 * user process within a deadline. The verdict is kept per host, kernel and QEMU.
 */

/** A healthy KVM needs well under a second; a nested one a few. */
const PROBE_DEADLINE_MS = 8_000;
const POLL_MS = 20;
/** The kernel says so when it starts /init; printed at the log level that the probe boots with. */
const PROOF = "Run /init as init process";

export interface Verdict {
  accelerator: Accelerator;
  /** Why it is not a faster one, in one line; empty if it is the fastest of this platform. */
  reason: string;
}

const verdictFile = z.object({
  subject: z.string(),
  accelerator: z.enum(["kvm", "hvf", "whpx", "tcg"]),
  reason: z.string(),
});

/** Accelerators to try on a platform, fastest first. Emulation is always the last. */
export function candidates(platform: NodeJS.Platform): Accelerator[] {
  const hardware: Partial<Record<NodeJS.Platform, Accelerator>> = {
    linux: "kvm",
    darwin: "hvf",
    win32: "whpx",
  };
  const first = hardware[platform];
  return first === undefined ? ["tcg"] : [first, "tcg"];
}

export interface ProbeOptions {
  platform?: NodeJS.Platform;
  /** Value of `$MSB_ACCELERATOR`: taken at its word, without a probe. */
  forced?: string | undefined;
  qemuHash: string;
  /** Where verdicts are kept. */
  cacheFile: string;
  /** Boots our kernel with this accelerator, talking on its console. */
  boot: (accelerator: Accelerator) => Promise<Machine>;
  signal?: AbortSignal | undefined;
  deadlineMs?: number;
}

/** The fastest accelerator that was seen to run a guest. Probes at most once per host, kernel and QEMU. */
export async function chooseAccelerator(options: ProbeOptions): Promise<Verdict> {
  const forced = verdictFile.shape.accelerator.safeParse(options.forced);
  if (forced.success) return { accelerator: forced.data, reason: "set by MSB_ACCELERATOR" };
  const subject = await subjectOf(options.qemuHash);
  const known = await readVerdict(options.cacheFile, subject);
  if (known !== undefined) return known;
  const verdict = await probe(options);
  await writeVerdict(options.cacheFile, { subject, ...verdict });
  return verdict;
}

async function probe(options: ProbeOptions): Promise<Verdict> {
  const platform = options.platform ?? process.platform;
  const reasons: string[] = [];
  for (const accelerator of candidates(platform)) {
    if (accelerator === "tcg") break;
    const missing = accelerator === "kvm" ? await kvmMissing() : undefined;
    const failure = missing ?? (await runs(accelerator, options));
    if (failure === undefined) return { accelerator, reason: "" };
    reasons.push(failure);
  }
  return { accelerator: "tcg", reason: reasons.join("; ") };
}

async function kvmMissing(): Promise<string | undefined> {
  try {
    await access("/dev/kvm", constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT"
      ? "/dev/kvm does not exist"
      : "/dev/kvm is there but this user may not open it (join the group 'kvm')";
  }
}

/** @returns why not, or `undefined` if it ran */
async function runs(accelerator: Accelerator, options: ProbeOptions): Promise<string | undefined> {
  const deadlineMs = options.deadlineMs ?? PROBE_DEADLINE_MS;
  const deadline = Date.now() + deadlineMs;
  let machine: Machine | undefined;
  try {
    machine = await options.boot(accelerator);
    const exit = machine.exited.then((e) => e.message);
    let seen = "";
    while (Date.now() < deadline) {
      options.signal?.throwIfAborted();
      const ended = await Promise.race([exit, sleep(POLL_MS).then(() => undefined)]);
      if (ended !== undefined) return `${accelerator} is there but QEMU ended: ${ended}`;
      seen += await machine.console();
      if (seen.includes(PROOF)) return undefined;
    }
    return `${accelerator} is there but a guest did not boot within ${deadlineMs / 1000} s`;
  } catch (error) {
    options.signal?.throwIfAborted();
    return `${accelerator} is there but does not start: ${explained(error instanceof Error ? error.message : String(error))}`;
  } finally {
    await machine?.kill().catch(() => {});
  }
}

/** Where the daemon is root, QEMU runs under a uid of its own, which keeps the group of /dev/kvm and nothing else. */
export function explained(message: string): string {
  if (!/kvm: Permission denied/.test(message)) return message;
  return `${message} (let a group open it: chgrp kvm /dev/kvm && chmod 660 /dev/kvm)`;
}

/** What a verdict holds for: another kernel, processor or QEMU is another case. */
async function subjectOf(qemuHash: string): Promise<string> {
  const cpu = await readFile("/proc/cpuinfo", "utf8").then(
    (text) =>
      text
        .split("\n")
        .filter((l) => /^(model name|flags)/.test(l))
        .slice(0, 2)
        .join("\n"),
    () => "",
  );
  // Who may open it is part of the case: mended permissions are worth a new probe.
  const kvm = await stat("/dev/kvm").then(
    ({ mode, uid, gid }) => `kvm ${mode} ${uid} ${gid}`,
    () => "no kvm",
  );
  return createHash("sha256")
    .update([process.platform, release(), cpu, kvm, qemuHash].join("\n"))
    .digest("hex");
}

async function readVerdict(file: string, subject: string): Promise<Verdict | undefined> {
  try {
    const parsed = verdictFile.parse(JSON.parse(await readFile(file, "utf8")));
    return parsed.subject === subject
      ? { accelerator: parsed.accelerator, reason: parsed.reason }
      : undefined;
  } catch {
    // Missing or damaged: probe again.
    return undefined;
  }
}

async function writeVerdict(file: string, verdict: z.infer<typeof verdictFile>): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const partial = join(dirname(file), `.accelerator-${process.pid}`);
  await writeFile(partial, `${JSON.stringify(verdict, null, 2)}\n`);
  await rename(partial, file).catch(() => rm(partial, { force: true }));
}
