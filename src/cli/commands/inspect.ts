import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { printJson } from "../terminal.ts";

const HELP = `
Prints an object for one sandbox, an array for several.

Examples:
  $ msb inspect box
  $ msb inspect box | jq .timings`;

export function command(): Command {
  return new Command("inspect")
    .description("Show all that is known of a sandbox, as JSON.")
    .argument("<SANDBOX...>", "names or ids")
    .option("--json", "print JSON; it does so anyway")
    .addHelpText("after", HELP)
    .action(async (refs: string[]) => {
      const infos = await Promise.all(refs.map(async (ref) => (await Sandbox.get(ref)).info));
      printJson(infos.length === 1 ? infos[0] : infos);
    });
}
