import { Command } from "commander";
import { Snapshot } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { ProgressDisplay } from "../progress.ts";
import { parseMilliseconds } from "../quantity.ts";
import { addSpecFlags, type SandboxFlags, specOf } from "../sandbox-flags.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Starts a sandbox of the image, runs CMD in its shell, waits until it is ready and stores that under a name. msb run NAME
and msb create NAME then begin there: with what CMD has started, loaded and written. Prints the name.

Ready is when the command of --ready ends with 0; it is asked again and again. Without it, when CMD has ended with 0.

The same command again does nothing. It is made anew when the image has moved (--pull always looks) or is itself a
prepared one that was made anew, when another flag differs or files are copied, and with --force. Sandboxes of the old
one go on.

Examples:
  $ msb prepare msb/python --run 'pip install requests' --as with-requests
  $ msb prepare --memory 1G postgres:17 -e POSTGRES_PASSWORD=x --as db \\
      --run 'docker-entrypoint.sh postgres' --ready 'pg_isready -h localhost'
  $ msb run with-requests -- python3 -c 'import requests'
  $ msb snapshot ls --prepared`;

interface PrepareFlags extends SandboxFlags {
  run: string;
  ready?: string;
  readyTimeout?: number;
  as: string;
  force?: boolean;
  json?: boolean;
}

export function command(): Command {
  const command = new Command("prepare")
    .description("Store a sandbox that is ready for its work, to begin from there as from an image.")
    .argument("<IMAGE>", "image to start from")
    .requiredOption("--run <CMD>", "shell command that gets it ready")
    .option("--ready <CMD>", "shell command that ends with 0 once it is ready")
    .option("--ready-timeout <DURATION>", "how long that may take (default: 5m)", parseMilliseconds)
    .requiredOption("--as <NAME>", "name of what is prepared")
    .option("-f, --force", "make it anew although nothing has changed");
  return addSpecFlags(command)
    .option("--json", "print all that is known of it, as JSON")
    .addHelpText("after", HELP)
    .action((image: string, flags: PrepareFlags) => interruptible((signal) => prepare(image, flags, signal)));
}

async function prepare(image: string, flags: PrepareFlags, signal: AbortSignal): Promise<void> {
  const { run, ready, readyTimeout, as, force, json } = flags;
  using progress = new ProgressDisplay();
  const made = await Snapshot.prepare({
    ...specOf(image, flags),
    as,
    run,
    ready,
    readyTimeoutMs: readyTimeout,
    force,
    signal,
    onProgress: progress.update,
  });
  progress.done();
  if (json) printJson(made);
  else print(made.name);
}
