import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { each } from "../each.ts";
import { ProgressDisplay } from "../progress.ts";

const HELP = `
Examples:
  $ msb start box
  $ msb start $(msb ls --state stopped --quiet)`;

export function command(): Command {
  return new Command("start")
    .description("Start a stopped sandbox with the disk it had.")
    .argument("<SANDBOX...>", "names or ids")
    .addHelpText("after", HELP)
    .action(async (refs: string[]) => {
      using progress = new ProgressDisplay();
      await each(refs, (ref) => Sandbox.at(ref).start({ onProgress: progress.update }));
    });
}
