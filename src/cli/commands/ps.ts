import { Command } from "commander";
import { type ProcessInfo, Sandbox } from "../../sdk/index.ts";
import { formatAge } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printable, printJson } from "../terminal.ts";
import { addLsFlags, type LsFlags, listSandboxes } from "./ls.ts";

const MAX_COMMAND = 60;

const HELP = `
The processes that run, and the last 128 that have ended. Without a sandbox it is msb ls, with its flags.

Examples:
  $ msb ps box
  $ msb ps --quiet box
  $ msb ps`;

export function command(): Command {
  return addLsFlags(new Command("ps").description("List the processes of a sandbox."))
    .argument("[SANDBOX]", "name or id")
    .addHelpText("after", HELP)
    .action(async (ref: string | undefined, flags: LsFlags) => {
      if (ref === undefined) return listSandboxes(flags);
      const infos = (await Sandbox.at(ref).processes.list()).map(({ info }) => info);
      if (flags.json) printJson(infos);
      else if (flags.quiet) for (const { process } of infos) print(String(process));
      else {
        printTable(
          ["PROCESS", "PID", "STATE", "AGE", "COMMAND"],
          infos.map((info) => [
            String(info.process),
            String(info.pid),
            stateOf(info),
            formatAge(info.startedAt),
            commandOf(info),
          ]),
        );
      }
    });
}

function stateOf({ state, exit }: ProcessInfo): string {
  if (exit === undefined) return state;
  return `${state} (${exit.signal ?? exit.exitCode})`;
}

function commandOf({ argv }: ProcessInfo): string {
  const text = printable(argv.join(" "));
  return text.length > MAX_COMMAND ? `${text.slice(0, MAX_COMMAND - 1)}…` : text;
}
