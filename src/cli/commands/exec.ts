import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { attach } from "../attach.ts";
import { parseMilliseconds } from "../quantity.ts";
import { addProcessFlags, commandOf, type ProcessFlags, processOf } from "../sandbox-flags.ts";

const HELP = `
Signals, Ctrl-C among them, reach the command. It ends when msb does.
Exit code: as of msb run; see there.

Examples:
  $ msb exec box -- ls -l /
  $ msb exec -e LANG=C -w /tmp box -- sh -c 'pwd; env'
  $ tar c . | msb exec box -- tar x -C /work`;

export function command(): Command {
  return addProcessFlags(new Command("exec").description("Run a command in a running sandbox."))
    .option("--timeout <DURATION>", "end the command after so long, as 5s or 2m", parseMilliseconds)
    .argument("<SANDBOX>", "name or id")
    .argument("<COMMAND...>", "command and its arguments")
    .passThroughOptions()
    .addHelpText("after", HELP)
    .action(async (ref: string, words: string[], flags: ProcessFlags & { timeout?: number }) => {
      const [file = "", ...args] = commandOf(words);
      const cancel = new AbortController();
      const process_ = Sandbox.at(ref).execStream(file, args, {
        ...processOf(flags),
        timeoutMs: flags.timeout,
        signal: cancel.signal,
      });
      process.exitCode = await attach(process_, () => cancel.abort());
    });
}
