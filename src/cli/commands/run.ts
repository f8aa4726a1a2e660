import { Command, Option } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Sandbox } from "../../sdk/index.ts";
import { attach } from "../attach.ts";
import { interruptible } from "../interruption.ts";
import { ownTerminal } from "../own-terminal.ts";
import { ProgressDisplay } from "../progress.ts";
import { parseMilliseconds } from "../quantity.ts";
import {
  addSandboxFlags,
  addTerminalFlags,
  commandOf,
  type SandboxFlags,
  specOf,
  type TerminalFlags,
} from "../sandbox-flags.ts";
import { note, print } from "../terminal.ts";
import { printTimings } from "../timings.ts";

interface RunFlags extends SandboxFlags, TerminalFlags {
  timeout?: number;
  rm?: boolean;
  detach?: boolean;
  timings?: boolean;
}

const HELP = `
Without --name the sandbox is removed when its command ends. With --name it stays, running, for msb exec and
msb stop; with --detach it stays until its command ends, then it is stopped. --rm removes it in both cases.

Exit code: the command's; 128 + n when signal n ended it; 124 after --timeout; 127 when there is no such command and
126 when it cannot be run; 125 when msb itself failed.

Examples:
  $ msb run msb/python -- python3 -c 'print(6 * 7)'
  $ echo hello | msb run msb/base -- tr a-z A-Z
  $ msb run -it msb/base -- sh
  $ msb run --memory 1G --cpus 2 --timeout 30s msb/python -- python3 job.py
  $ msb run --name box msb/base -- touch /root/kept        then: msb exec box -- ls /root
  $ msb run --copy ./src:/srv --workdir /srv msb/python -- python3 main.py
  $ msb run with-requests -- python3 job.py                 an image of msb prepare
  $ msb run --detach --name web msb/python -- python3 -m http.server`;

export function command(): Command {
  return addTerminalFlags(addSandboxFlags(new Command("run").description("Run a command in a new sandbox.")))
    .option("--timeout <DURATION>", "end the command after so long, as 5s or 2m", parseMilliseconds)
    .option("--rm", "remove the sandbox when its command ends, even with --name or --detach")
    .addOption(new Option("-d, --detach", "print the sandbox's name and return at once").conflicts("timeout"))
    .option("--timings", "print how long each step of the start took")
    .argument("<IMAGE>", "image to start from")
    .argument("[COMMAND...]", "command and its arguments (default: the image's)")
    .passThroughOptions()
    .addHelpText("after", HELP)
    .action(run);
}

async function run(image: string, words: string[], flags: RunFlags): Promise<void> {
  const argv = commandOf(words);
  const spec = specOf(image, flags);
  if (flags.detach) {
    if (flags.tty)
      throw new SandboxError("invalid_argument", "--detach leaves no terminal to give: leave out -t");
    const detached = { ...spec, ...(argv.length > 0 && { command: argv }) };
    if (flags.copy === undefined) return runDetached(detached, flags);
    return interruptible((signal) => runDetached(detached, flags, signal));
  }
  const began = performance.now();
  const terminal = ownTerminal(flags);
  const keep = flags.name !== undefined && !flags.rm;
  const cancel = new AbortController();
  using progress = new ProgressDisplay();
  const process_ = Sandbox.run(
    {
      ...spec,
      keep,
      timeoutMs: flags.timeout,
      tty: terminal?.spec,
      signal: cancel.signal,
      onProgress: progress.update,
    },
    argv,
  );
  process_.sandbox.then(progress.done, progress.done);
  const startedMs = process_.started.then(
    () => performance.now() - began,
    () => undefined,
  );
  process.exitCode = await attach(process_, () => cancel.abort(), { terminal });
  if (flags.timings) {
    const { timings } = await process_.sandbox;
    const totalMs = performance.now() - began;
    const runMs = await startedMs;
    printTimings(timings, [
      { name: "until the command ran", startMs: 0, durationMs: runMs ?? totalMs },
      { name: "until it ended", startMs: 0, durationMs: totalMs },
      { name: "msb as a whole", startMs: 0, durationMs: performance.now() },
    ]);
  }
  if (keep && process.stderr.isTTY)
    note(`sandbox ${flags.name} runs on; end it with: msb rm --force ${flags.name}`);
}

async function runDetached(
  spec: ReturnType<typeof specOf>,
  flags: RunFlags,
  signal?: AbortSignal,
): Promise<void> {
  if (spec.command === undefined && flags.rm) {
    throw new SandboxError(
      "invalid_argument",
      "--detach --rm needs a command: without one the sandbox never ends",
    );
  }
  using progress = new ProgressDisplay();
  const sandbox = await Sandbox.create({
    ...spec,
    autoRemove: flags.rm ?? false,
    signal,
    onProgress: progress.update,
  });
  progress.done();
  print(sandbox.name);
  if (flags.timings) printTimings(sandbox.info.timings);
}
