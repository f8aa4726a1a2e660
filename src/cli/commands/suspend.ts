import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { each } from "../each.ts";

const HELP = `
Its memory goes to disk and its VM ends: it costs neither memory nor CPU time, and keeps its processes. It goes on by
itself when somebody uses it, as after msb pause; that takes about as long as the start of a sandbox.

Examples:
  $ msb suspend box
  $ msb create --name box --idle-timeout 5m --on-idle suspend msb/base`;

export function command(): Command {
  return new Command("suspend")
    .description("Store a sandbox on disk, processes and all, and end its VM.")
    .argument("<SANDBOX...>", "names or ids")
    .addHelpText("after", HELP)
    .action((refs: string[]) => each(refs, (ref) => Sandbox.at(ref).suspend()));
}
