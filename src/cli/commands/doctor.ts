import { Command } from "commander";
import { type Check, Daemon, SandboxError } from "../../sdk/index.ts";
import { ProgressDisplay } from "../progress.ts";
import { colorful, print, printJson } from "../terminal.ts";

const HELP = `
✓ is in order, ! works with a limit, ✗ keeps sandboxes from starting. Exit code 1 if there is a ✗.

Examples:
  $ msb doctor
  $ msb doctor --json | jq '.[] | select(.status != "ok")'`;

export function command(): Command {
  return new Command("doctor")
    .description("Say what this machine can do, what is missing and what mends it.")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async ({ json }: { json?: boolean }) => {
      using progress = new ProgressDisplay();
      progress.update({ task: "looking at this machine" });
      const checks = await examine();
      progress.done();
      if (json) printJson(checks);
      else report(checks);
      if (checks.some(({ status }) => status === "failed")) process.exitCode = 1;
    });
}

/** A daemon that does not start is the first finding, and not a reason to say nothing. */
async function examine(): Promise<Check[]> {
  try {
    const checks = await Daemon.doctor();
    return [{ name: "daemon", status: "ok", message: "the daemon runs" }, ...checks];
  } catch (error) {
    const { message, hint } = SandboxError.from(error);
    return [{ name: "daemon", status: "failed", message, ...(hint === undefined ? {} : { remedy: hint }) }];
  }
}

const SIGNS = { ok: "✓", warning: "!", failed: "✗" } as const;
const COLORS = { ok: 32, warning: 33, failed: 31 } as const;

function report(checks: readonly Check[]): void {
  const color = colorful(process.stdout);
  const width = Math.max(...checks.map(({ name }) => name.length));
  for (const { name, status, message, remedy } of checks) {
    const sign = color ? `\x1b[${COLORS[status]}m${SIGNS[status]}\x1b[0m` : SIGNS[status];
    print(`${sign} ${name.padEnd(width)}  ${message}`);
    if (remedy !== undefined && status !== "ok") print(`  ${" ".repeat(width)}  → ${remedy}`);
  }
  const count = (wanted: Check["status"]) => checks.filter(({ status }) => status === wanted).length;
  const failed = count("failed");
  const limits = count("warning");
  print();
  if (failed > 0) print(`${failed} to mend before sandboxes can start.`);
  else print(limits > 0 ? `Sandboxes can start; ${limits} with a limit.` : "Everything is in order.");
}
