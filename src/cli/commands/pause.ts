import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { each } from "../each.ts";

const HELP = `
It costs no CPU time and keeps its memory. It goes on by itself when somebody uses it: runs a command in it, reads or
writes its files, connects to a port of it.

Examples:
  $ msb pause box`;

export function command(): Command {
  return new Command("pause")
    .description("Have a sandbox stand still, with all that is in its memory.")
    .argument("<SANDBOX...>", "names or ids")
    .addHelpText("after", HELP)
    .action((refs: string[]) => each(refs, (ref) => Sandbox.at(ref).pause()));
}
