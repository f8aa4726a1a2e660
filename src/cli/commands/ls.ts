import { Command } from "commander";
import { Sandbox, type SandboxState } from "../../sdk/index.ts";
import { formatAge, formatBytes } from "../quantity.ts";
import { pairs } from "../sandbox-flags.ts";
import { printTable } from "../table.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Examples:
  $ msb ls
  $ msb ls --state running --quiet
  $ msb ls --json | jq -r '.[].name'`;

const collect = (value: string, before: string[] = []) => [...before, value];

export interface LsFlags {
  state?: string[];
  label?: string[];
  quiet?: boolean;
  json?: boolean;
}

export function command(): Command {
  return addLsFlags(new Command("ls").description("List sandboxes, in any state."))
    .addHelpText("after", HELP)
    .action(listSandboxes);
}

export function addLsFlags(command: Command): Command {
  return command
    .option("-s, --state <STATE>", "only those that are running, stopped, … (repeatable)", collect)
    .option("-l, --label <KEY=VALUE>", "only those with this label (repeatable)", collect)
    .option("-q, --quiet", "only their names")
    .option("--json", "print JSON");
}

export async function listSandboxes({ state, label, quiet, json }: LsFlags): Promise<void> {
  const sandboxes = await Sandbox.list({
    states: state as SandboxState[] | undefined,
    labels: label && pairs(label, "--label"),
  });
  const infos = sandboxes.map(({ info }) => info);
  if (json) printJson(infos);
  else if (quiet) for (const { name } of infos) print(name);
  else {
    // Most have none.
    const grouped = infos.some(({ spec }) => spec.network.group !== undefined);
    printTable(
      ["NAME", ...(grouped ? ["GROUP"] : []), "IMAGE", "STATE", "CPUS", "MEMORY", "AGE"],
      infos.map(({ name, image, state, health, exitCode, spec, createdAt }) => [
        name,
        ...(grouped ? [spec.network.group ?? ""] : []),
        image,
        // What does not answer is not what people call running.
        health === "unresponsive" ? health : exitCode === undefined ? state : `${state} (${exitCode})`,
        String(spec.cpus),
        formatBytes(spec.memoryMiB * 1024 ** 2),
        formatAge(createdAt),
      ]),
    );
  }
}
