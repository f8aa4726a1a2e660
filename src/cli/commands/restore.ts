import { Command } from "commander";
import { Snapshot } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { addNetworkFlags, type NetworkFlags, networkOf } from "../network-flags.ts";
import { ProgressDisplay } from "../progress.ts";
import { parseCount } from "../quantity.ts";
import { addProcessFlags, type ProcessFlags, pairs, processOf } from "../sandbox-flags.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Prints the names of the new sandboxes. They go on from where the snapshot was made, as often as you like; each has an
identity of its own. Of one that was made of a stopped sandbox they start with its files.

Examples:
  $ msb restore before
  $ msb restore before --name again
  $ msb restore before --count 10 --name try       try-1 … try-10
  $ msb restore web -p 8081:80                     another port of this machine than the first one has`;

interface RestoreFlags extends ProcessFlags, NetworkFlags {
  name?: string;
  count?: number;
  label?: string[];
  json?: boolean;
}

const collect = (value: string, before: string[] = []) => [...before, value];

export function command(): Command {
  return addNetworkFlags(
    addProcessFlags(
      new Command("restore")
        .description("Make sandboxes that go on from a snapshot.")
        .argument("<SNAPSHOT>", "name or id")
        .option("--count <N>", "how many, up to 100 (default: 1)", parseCount)
        .option(
          "-n, --name <NAME>",
          "name of the new one; of several, NAME-1, NAME-2 … (default: generated)",
        ),
    ),
  )
    .option("-l, --label <KEY=VALUE>", "attach a label (repeatable)", collect)
    .option("--json", "print all that is known of them, as JSON")
    .addHelpText("after", HELP)
    .action((ref: string, flags: RestoreFlags) => interruptible((signal) => restore(ref, flags, signal)));
}

async function restore(ref: string, flags: RestoreFlags, signal: AbortSignal): Promise<void> {
  const { name, count, label, json } = flags;
  const network = networkOf(flags);
  using progress = new ProgressDisplay();
  const snapshot = await Snapshot.get(ref, { signal });
  const sandboxes = await snapshot.restore({
    name,
    count,
    ...processOf(flags),
    ...(network && { network }),
    ...(label && { labels: pairs(label, "--label") }),
    signal,
    onProgress: progress.update,
  });
  progress.done();
  if (json) printJson(sandboxes);
  else for (const sandbox of sandboxes) print(sandbox.name);
}
