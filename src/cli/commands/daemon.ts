import { spawn } from "node:child_process";
import { once } from "node:events";
import { Command } from "commander";
import { daemonLog, homeDirectory } from "../../contract/home.ts";
import { Daemon } from "../../sdk/index.ts";
import { formatAge } from "../quantity.ts";
import { note, print, printJson } from "../terminal.ts";

const HELP = `
The daemon starts by itself when it is needed and leaves when nothing has run for ten minutes; MSB_IDLE_EXIT_MS sets
another time. Sandboxes go on while it is away.

Examples:
  $ msb daemon status
  $ msb daemon logs --follow
  $ msb daemon stop`;

export function command(): Command {
  const daemon = new Command("daemon").description("Start, stop and look after the daemon.");
  daemon.addHelpText("after", HELP);
  daemon
    .command("start")
    .description("Start the daemon, unless it runs.")
    .addHelpText("after", "\nExamples:\n  $ msb daemon start")
    .action(async () => {
      const { health, started } = await Daemon.start();
      print(
        started ? `daemon started, process ${health.pid}` : `the daemon runs already, process ${health.pid}`,
      );
    });
  daemon
    .command("stop")
    .description("Stop the daemon. Sandboxes go on; the next daemon takes them over.")
    .addHelpText("after", "\nExamples:\n  $ msb daemon stop")
    .action(async () => {
      print((await Daemon.stop()) ? "daemon stopped" : "no daemon runs");
    });
  daemon
    .command("status")
    .description("Say whether the daemon runs. Exit code 3 when it does not.")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb daemon status --json")
    .action(status);
  daemon
    .command("logs")
    .description("Show the daemon's log.")
    .option("-f, --follow", "go on as more is written")
    .option("--tail <N>", "only the last N lines", "200")
    .addHelpText("after", "\nExamples:\n  $ msb daemon logs --follow")
    .action(logs);
  return daemon;
}

async function status({ json }: { json?: boolean }): Promise<void> {
  const health = await Daemon.status();
  // As LSB's `status` has it: 3 is "not running".
  if (!health) process.exitCode = 3;
  if (json) printJson(health ?? null);
  else if (!health) print("no daemon runs; it starts when it is needed");
  else {
    print(`running, process ${health.pid}, for ${formatAge(health.startedAt)}`);
    print(`sandboxes running: ${health.sandboxes}`);
    print(`home: ${health.home}`);
    print(`build: ${health.build}`);
  }
}

async function logs({ follow, tail }: { follow?: boolean; tail: string }): Promise<void> {
  const file = daemonLog(homeDirectory());
  const args = ["-n", tail, ...(follow ? ["-F"] : []), "--", file];
  const child = spawn("tail", args, { stdio: ["ignore", "inherit", "pipe"] });
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaint += chunk;
  });
  process.once("SIGINT", () => child.kill());
  const [code] = await once(child, "close");
  if (code === 0 || code === null) return;
  note(
    complaint.includes("No such file")
      ? "msb: the daemon has never run here: it has no log"
      : complaint.trim(),
  );
  process.exitCode = 1;
}
