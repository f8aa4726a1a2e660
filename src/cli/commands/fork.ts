import { Command, Option } from "commander";
import { Sandbox, type StoredVolumes } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { ProgressDisplay } from "../progress.ts";
import { parseCount } from "../quantity.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Prints the names of the new sandboxes. They begin with the memory, the processes and the files that the sandbox has at
that moment, and have an identity of their own: name, addresses, random numbers. Its connections stay with it; theirs
are reset. What none of them writes they share.

Examples:
  $ msb fork box
  $ msb fork box --count 5 --name try              try-1 … try-5
  $ for try in $(msb fork box --count 5); do msb exec $try -- ./experiment; done`;

interface ForkFlags {
  name?: string;
  count?: number;
  volumes?: StoredVolumes;
  json?: boolean;
}

export function command(): Command {
  return addVolumesFlag(
    new Command("fork")
      .description("Make sandboxes that go on from where a running one is; it goes on too.")
      .argument("<SANDBOX>", "name or id")
      .option("--count <N>", "how many, up to 100 (default: 1)", parseCount)
      .option("-n, --name <NAME>", "name of the new one; of several, NAME-1, NAME-2 … (default: generated)"),
  )
    .option("--json", "print all that is known of them, as JSON")
    .addHelpText("after", HELP)
    .action((ref: string, flags: ForkFlags) => interruptible((signal) => fork(ref, flags, signal)));
}

export function addVolumesFlag(command: Command): Command {
  return command.addOption(
    new Option(
      "--volumes <WHAT>",
      "named volumes that it may write to: refuse, or copy them as they are now (default: refuse)",
    ).choices(["refuse", "copy"]),
  );
}

async function fork(ref: string, { json, ...options }: ForkFlags, signal: AbortSignal): Promise<void> {
  using progress = new ProgressDisplay();
  const sandboxes = await Sandbox.at(ref).fork({ ...options, signal, onProgress: progress.update });
  progress.done();
  if (json) printJson(sandboxes);
  else for (const { name } of sandboxes) print(name);
}
