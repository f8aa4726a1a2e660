import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Sandbox } from "../../sdk/index.ts";
import { parseCount } from "../quantity.ts";

const HELP = `
Exit code: the process's; see msb run. A process that has ended is known until 128 others have ended after it.

Examples:
  $ msb wait box 3; echo $?`;

export function command(): Command {
  return new Command("wait")
    .description("Wait until a process of a sandbox has ended.")
    .argument("<SANDBOX>", "name or id")
    .argument("<PROCESS>", "its number, as msb ps shows it", parseCount)
    .addHelpText("after", HELP)
    .action(async (ref: string, number: number) => {
      const found = await Sandbox.at(ref).processes.get(number);
      const { exit } = await found.wait();
      if (exit === undefined) {
        throw new SandboxError("unavailable", `process ${number} is gone: its VM ended under it`);
      }
      process.exitCode = exit.timedOut ? 124 : exit.exitCode & 0xff;
    });
}
