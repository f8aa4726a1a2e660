import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { each } from "../each.ts";

const HELP = `
Its clock is set. Using it (exec, cp, …) has it go on too.

Examples:
  $ msb resume box`;

export function command(): Command {
  return new Command("resume")
    .description("Have a paused or suspended sandbox go on.")
    .argument("<SANDBOX...>", "names or ids")
    .addHelpText("after", HELP)
    .action((refs: string[]) => each(refs, (ref) => Sandbox.at(ref).resume()));
}
