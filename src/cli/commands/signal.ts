import { Command, Option } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { parseCount } from "../quantity.ts";

const HELP = `
Examples:
  $ msb signal box 3 TERM
  $ msb signal --scope tree box 3 KILL`;

interface SignalFlags {
  scope?: "process" | "group" | "tree";
}

export function command(): Command {
  return new Command("signal")
    .description("Send a signal to a process of a sandbox.")
    .addOption(
      new Option(
        "--scope <WHOM>",
        "the process alone, its group (default), or all that descends from it",
      ).choices(["process", "group", "tree"]),
    )
    .argument("<SANDBOX>", "name or id")
    .argument("<PROCESS>", "its number, as msb ps shows it", parseCount)
    .argument("<SIGNAL>", "name or number, as TERM or 15")
    .addHelpText("after", HELP)
    .action(async (ref: string, number: number, signal: string, { scope }: SignalFlags) => {
      const found = await Sandbox.at(ref).processes.get(number);
      await found.signal(signal, { scope });
    });
}
