import { Command, Option } from "commander";
import { Sandbox } from "../../sdk/index.ts";
import { attach } from "../attach.ts";
import { parseDetachKeys } from "../detach-keys.ts";
import { ownTerminal } from "../own-terminal.ts";
import { parseCount } from "../quantity.ts";

const HELP = `
Shows what is kept of its output, then what comes, until it has ended. The process goes on when msb ends, Ctrl-C or not;
to end it: msb signal. One that has a terminal gets this one, and ctrl-p ctrl-q leaves it.

Exit code: the process's; see msb run.

Examples:
  $ msb attach box 3
  $ msb attach --from-now box 3
  $ echo input | msb attach -i box 3`;

interface AttachFlags {
  interactive?: boolean;
  fromNow?: boolean;
  detachKeys?: Buffer;
}

export function command(): Command {
  return new Command("attach")
    .description("Connect to a process that runs, or ran, in a sandbox.")
    .option("-i, --interactive", "send stdin to a process without a terminal, and its end")
    .option("--from-now", "leave out what it has written before")
    .addOption(
      new Option("--detach-keys <KEYS>", "keys that leave a terminal (default: ctrl-p,ctrl-q)").argParser(
        parseDetachKeys,
      ),
    )
    .argument("<SANDBOX>", "name or id")
    .argument("<PROCESS>", "its number, as msb ps shows it", parseCount)
    .addHelpText("after", HELP)
    .action(async (ref: string, number: number, flags: AttachFlags) => {
      const found = await Sandbox.at(ref).processes.get(number);
      const { tty, state } = found.info;
      const terminal = ownTerminal({
        detachKeys: flags.detachKeys,
        tty: tty && state === "running" && process.stdin.isTTY,
      });
      const cancel = new AbortController();
      const process_ = found.attach({ ...(flags.fromNow && { from: "now" }), signal: cancel.signal });
      process.exitCode = await attach(process_, () => cancel.abort(), {
        terminal,
        foreign: true,
        stdin: flags.interactive ?? false,
      });
    });
}
