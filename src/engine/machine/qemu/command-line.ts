import { readFile } from "node:fs/promises";
import type { Accelerator } from "./arguments.ts";

/**
 * The guest kernel's command line (guest/boot/README.md has the measurements). `panic=-1`: a panic resets at once, which
 * ends the VM. `quiet`: each line costs on an emulated serial port.
 */
const ALWAYS = ["console=ttyS0", "panic=-1", "cryptomgr.notests", "noreplace-smp"];

/** @param options.verbose lets the kernel tell of each step; default false */
export async function commandLine(
  accelerator: Accelerator,
  options: { verbose?: boolean } = {},
): Promise<string> {
  const words = [...ALWAYS, options.verbose ? "loglevel=6" : "quiet"];
  const khz = accelerator === "tcg" ? await hostTscKhz() : undefined;
  // Without it the kernel times its TSC against the emulated PIT, which fails whenever the host is busy; it then hangs.
  if (khz !== undefined) words.push(`tsc_early_khz=${khz}`);
  return words.join(" ");
}

/**
 * Frequency of the host's TSC, which an emulated CPU passes through: half of `bogomips`. Rounded to 1 MHz, since the kernel
 * measures it anew at every start of the host, a little differently, and the command line is part of a template's key.
 */
async function hostTscKhz(): Promise<number | undefined> {
  const text = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const bogomips = /^bogomips\s*:\s*([\d.]+)/m.exec(text)?.[1];
  return bogomips === undefined ? undefined : Math.round(Number(bogomips) / 2) * 1000;
}
