import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Sandbox } from "../../sdk/index.ts";
import { each } from "../each.ts";

const HELP = `
Examples:
  $ msb rm box
  $ msb rm --force box other
  $ msb rm --all                 all that do not run; with --force really all`;

export function command(): Command {
  return new Command("rm")
    .description("Remove a sandbox and its disk.")
    .argument("[SANDBOX...]", "names or ids")
    .option("-f, --force", "also if it runs: it is killed")
    .option("-a, --all", "all sandboxes that do not run")
    .addHelpText("after", HELP)
    .action(async (refs: string[], { force = false, all = false }: { force?: boolean; all?: boolean }) => {
      if (all === refs.length > 0) {
        throw new SandboxError("invalid_argument", "give the sandboxes to remove, or --all");
      }
      const names = all ? await removable(force) : refs;
      await each(names, (ref) => Sandbox.at(ref).remove({ force }));
    });
}

async function removable(force: boolean): Promise<string[]> {
  const sandboxes = await Sandbox.list(force ? {} : { states: ["stopped", "failed"] });
  return sandboxes.map(({ name }) => name);
}
