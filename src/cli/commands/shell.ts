import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Sandbox } from "../../sdk/index.ts";
import { attach } from "../attach.ts";
import { ownTerminal } from "../own-terminal.ts";
import {
  addProcessFlags,
  addTerminalFlags,
  type ProcessFlags,
  processOf,
  type TerminalFlags,
} from "../sandbox-flags.ts";

/** Where a shell may be if the sandbox's own is not there. */
const SHELLS = ["/bin/bash", "/bin/sh", "/bin/ash", "/usr/bin/sh", "/bin/busybox"];

const HELP = `
The shell is the sandbox's (msb create --shell, /bin/sh if nothing was said), or the first of
${SHELLS.slice(0, 3).join(", ")} that its image has. It has a terminal if msb has one; else it reads commands from
stdin. ctrl-p ctrl-q leaves it running.

Examples:
  $ msb shell box
  $ msb shell --user nobody --workdir /tmp box
  $ echo 'ls /' | msb shell box`;

export function command(): Command {
  return addTerminalFlags(
    addProcessFlags(new Command("shell").description("Open a shell in a running sandbox.")),
  )
    .argument("<SANDBOX>", "name or id")
    .addHelpText("after", HELP)
    .action(async (ref: string, flags: ProcessFlags & TerminalFlags) => {
      const sandbox = await Sandbox.get(ref);
      const terminal = ownTerminal({ ...flags, tty: flags.tty ?? process.stdin.isTTY });
      const cancel = new AbortController();
      const start = (file: string) =>
        sandbox.execStream(file, file.endsWith("/busybox") ? ["sh"] : [], {
          ...processOf(flags),
          tty: terminal?.spec,
          signal: cancel.signal,
        });
      const process_ = await firstThatIsThere([sandbox.info.spec.shell, ...SHELLS], start);
      process.exitCode = await attach(process_, () => cancel.abort(), { terminal });
    });
}

/** @throws what the first one failed with, if none is there */
async function firstThatIsThere<P extends { started: Promise<unknown> }>(
  files: readonly string[],
  start: (file: string) => P,
): Promise<P> {
  let first: unknown;
  for (const file of files) {
    const process_ = start(file);
    try {
      await process_.started;
      return process_;
    } catch (error) {
      if (!(error instanceof SandboxError) || error.details?.exitCode !== 127) throw error;
      first ??= error;
    }
  }
  throw first;
}
