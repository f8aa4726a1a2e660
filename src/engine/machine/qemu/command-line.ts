import { readFile } from "node:fs/promises";
import type { Accelerator } from "./arguments.ts";

/**
 * The guest kernel's command line (guest/boot/README.md has the measurements). `panic=-1`: a panic resets at once, which
 * ends the VM; `reboot=t`: by a triple fault, since microvm has none of the devices that other ways need. `quiet`: each line costs on an emulated serial port.
 */
const ALWAYS = [
  "console=ttyS0",
  "panic=-1",
  "reboot=t",
  "cryptomgr.notests",
  "noreplace-smp",
  "lsm=landlock,yama",
  "audit=0",
  "GODEBUG=asyncpreemptoff=1",
];

// lsm, audit: without the modules that enforce policies which no image brings; programs can still sandbox themselves.
// GODEBUG: what the kernel does not know goes into init's environment. Preempting goroutines by signals buys the agent's
// single event loop nothing, and under emulation each code path that runs for the first time costs.

/** @param options.verbose lets the kernel tell of each step; default false */
export async function commandLine(
  accelerator: Accelerator,
  options: { verbose?: boolean } = {},
): Promise<string> {
  const words = [...ALWAYS, options.verbose ? "loglevel=6" : "quiet"];
  const khz = accelerator === "tcg" ? await hostTscKhz() : undefined;
  // An emulated processor does not speculate as the mitigations fear; and checks of the guest's kernel on itself, which protect
  // one process of a sandbox from another, cost there what they do not on hardware.
  if (accelerator === "tcg") words.push("mitigations=off", "hardened_usercopy=off");
  // Without it the kernel times its TSC against the emulated PIT, which fails whenever the host is busy; it then hangs.
  // Nor may its watchdog doubt the TSC: a vCPU that had to wait makes it fall back to a clock of 4 ms, which the template keeps.
  if (khz !== undefined) words.push(`tsc_early_khz=${khz}`, "tsc=reliable");
  return words.join(" ");
}

/**
 * Frequency of the host's TSC, which an emulated CPU passes through: half of `bogomips`. Rounded to 0.1 MHz (20 ppm), since the kernel
 * measures it anew at every start of the host, a little differently, and the command line is part of a template's key.
 */
async function hostTscKhz(): Promise<number | undefined> {
  const text = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const bogomips = /^bogomips\s*:\s*([\d.]+)/m.exec(text)?.[1];
  return bogomips === undefined ? undefined : Math.round((Number(bogomips) / 2) * 10) * 100;
}
