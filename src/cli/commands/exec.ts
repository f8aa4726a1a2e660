import { Command } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { attach } from "../attach.ts";
import { ownTerminal } from "../own-terminal.ts";
import { parseMilliseconds } from "../quantity.ts";
import {
  addProcessFlags,
  addTerminalFlags,
  commandOf,
  type ProcessFlags,
  processOf,
  type TerminalFlags,
} from "../sandbox-flags.ts";
import { print } from "../terminal.ts";

const HELP = `
Signals, Ctrl-C among them, reach the command. It ends when msb does. With -t it has a terminal: every key
reaches it, but for those that leave it running (ctrl-p ctrl-q, or what --detach-keys says).
Exit code: as of msb run; see there.

Examples:
  $ msb exec box -- ls -l /
  $ msb exec -e LANG=C -w /tmp box -- sh -c 'pwd; env'
  $ msb exec -d box -- sh -c 'make > log'      then: msb ps box, msb wait box 3
  $ msb exec -t box -- vi /etc/hosts
  $ tar c . | msb exec box -- tar x -C /work`;

export function command(): Command {
  return addTerminalFlags(
    addProcessFlags(new Command("exec").description("Run a command in a running sandbox.")),
  )
    .option("--timeout <DURATION>", "end the command after so long, as 5s or 2m", parseMilliseconds)
    .option(
      "-d, --detach",
      "print the process's number and return at once; with -i msb attach -i can send to it",
    )
    .argument("<SANDBOX>", "name or id")
    .argument("<COMMAND...>", "command and its arguments")
    .passThroughOptions()
    .addHelpText("after", HELP)
    .action(
      async (
        ref: string,
        words: string[],
        flags: ProcessFlags & TerminalFlags & { timeout?: number; detach?: boolean },
      ) => {
        const [file = "", ...args] = commandOf(words);
        if (flags.detach) {
          const started = await Sandbox.at(ref).processes.start(file, args, {
            ...processOf(flags),
            timeoutMs: flags.timeout,
            stdin: flags.interactive || flags.tty,
            tty: flags.tty ? { term: process.env.TERM } : undefined,
          });
          print(String(started.process));
          return;
        }
        const cancel = new AbortController();
        const terminal = ownTerminal(flags);
        const process_ = Sandbox.at(ref).execStream(file, args, {
          ...processOf(flags),
          timeoutMs: flags.timeout,
          tty: terminal?.spec,
          signal: cancel.signal,
        });
        process.exitCode = await attach(process_, () => cancel.abort(), { terminal });
      },
    );
}
