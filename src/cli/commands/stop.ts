import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { each } from "../each.ts";
import { parseMilliseconds } from "../quantity.ts";

const HELP = `
Its disk stays: msb start brings it back.

Examples:
  $ msb stop box
  $ msb stop --grace 30s box
  $ msb stop $(msb ls --state running --quiet)`;

export function command(): Command {
  return new Command("stop")
    .description("Stop a sandbox in an orderly way: TERM to its processes, later KILL, then power off.")
    .argument("<SANDBOX...>", "names or ids")
    .option("--grace <DURATION>", "time between TERM and KILL (default: 5s)", parseMilliseconds)
    .addHelpText("after", HELP)
    .action((refs: string[], { grace }: { grace?: number }) =>
      each(refs, (ref) => Sandbox.at(ref).stop({ graceMs: grace })),
    );
}
