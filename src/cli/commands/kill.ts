import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { each } from "../each.ts";

const HELP = `
What its processes had not yet written to its own disk is lost; what they wrote to volumes is saved first. To signal
one process: msb signal.

Examples:
  $ msb kill box`;

export function command(): Command {
  return new Command("kill")
    .description("End a sandbox at once, like pulling the plug.")
    .argument("<SANDBOX...>", "names or ids")
    .addHelpText("after", HELP)
    .action((refs: string[]) => each(refs, (ref) => Sandbox.at(ref).kill()));
}
