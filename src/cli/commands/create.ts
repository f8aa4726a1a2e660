import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { ProgressDisplay } from "../progress.ts";
import { addSandboxFlags, commandOf, type SandboxFlags, specOf } from "../sandbox-flags.ts";
import { print, printJson } from "../terminal.ts";
import { printTimings } from "../timings.ts";

const HELP = `
Prints the sandbox's name. Without a command it idles until it is stopped.

Examples:
  $ msb create --name box msb/python
  $ msb create --name box --copy ./src:/srv msb/python -- python3 /srv/server.py
  $ box=$(msb create msb/base) && msb exec $box -- uname -r && msb rm --force $box`;

type CreateFlags = SandboxFlags & { json?: boolean; timings?: boolean };

export function command(): Command {
  return addSandboxFlags(new Command("create").description("Create a sandbox and leave it running."))
    .option("--json", "print all that is known of it, as JSON")
    .option("--timings", "print how long each step of the start took")
    .argument("<IMAGE>", "image to start from")
    .argument("[COMMAND...]", "main process; when it ends the sandbox stops (default: none)")
    .passThroughOptions()
    .addHelpText("after", HELP)
    .action((image: string, words: string[], flags: CreateFlags) => {
      // Only a copy takes time in which there is something to be taken back.
      if (flags.copy === undefined) return create(image, words, flags);
      return interruptible((signal) => create(image, words, flags, signal));
    });
}

async function create(
  image: string,
  words: string[],
  flags: CreateFlags,
  signal?: AbortSignal,
): Promise<void> {
  const argv = commandOf(words);
  using progress = new ProgressDisplay();
  const sandbox = await Sandbox.create({
    ...specOf(image, flags),
    ...(argv.length > 0 && { command: argv }),
    onProgress: progress.update,
    signal,
  });
  progress.done();
  if (flags.json) printJson(sandbox.info);
  else print(sandbox.name);
  if (flags.timings) printTimings(sandbox.info.timings);
}
