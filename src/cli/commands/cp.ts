import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { type CopyProgress, Sandbox } from "../../sdk/index.ts";
import { type End, parseEnd } from "../copy-end.ts";
import { interruptible } from "../interruption.ts";
import { ProgressDisplay } from "../progress.ts";
import { formatBytes } from "../quantity.ts";
import { tarToStdout } from "../tar-output.ts";
import { note, printable } from "../terminal.ts";

const HELP = `
One of the two is NAME:PATH, of a running sandbox; the other is a path here, or - for a tar from stdin or to stdout.

Where it goes, as with docker cp: a file or folder goes into a folder that is there, and takes the destination's name if
there is none; SRC/. means what is in a folder; DST/ has to be a folder. Modes, times, links and holes are kept. What is
copied here is yours, without setuid and setgid; what is copied to a sandbox is root's; -a keeps the owners.
Devices and FIFOs of a sandbox are left out.

Examples:
  $ msb cp src box:/app                  /app/src if there is /app, else /app
  $ msb cp src/. box:/app                what is in src, into /app
  $ msb cp box:/app/out.csv .
  $ msb cp box:/app - | tar t
  $ tar c src | msb cp - box:/app`;

interface CopyFlags {
  archive?: boolean;
  followLink?: boolean;
  quiet?: boolean;
}

export function command(): Command {
  return new Command("cp")
    .description("Copy files between this machine and a sandbox.")
    .argument("<SRC>", "NAME:PATH, a path here, or -")
    .argument("<DST>", "NAME:PATH, a path here, or -")
    .option("-a, --archive", "keep the owners")
    .option("-L, --follow-link", "copy what SRC leads to, if it is a link")
    .option("-q, --quiet", "no progress")
    .addHelpText("after", HELP)
    .action((source: string, destination: string, flags: CopyFlags) =>
      interruptible((signal) => copy(parseEnd(source), parseEnd(destination), flags, signal)),
    );
}

async function copy(from: End, to: End, flags: CopyFlags, signal: AbortSignal): Promise<void> {
  const { archive = false, followLink: follow = false } = flags;
  using display = new ProgressDisplay();
  const told = ({ entries, bytes }: CopyProgress) =>
    display.update({
      task: `copied ${entries.toLocaleString("en")} files and folders, ${formatBytes(bytes)}`,
    });
  const onProgress = flags.quiet || !process.stderr.isTTY ? undefined : told;
  if (from.where === "sandbox" && to.where !== "sandbox") {
    const { files } = Sandbox.at(from.sandbox);
    if (to.where === "stream") return tarToStdout(() => files.archive(from.path, { follow, signal }));
    const { skipped } = await files.download(from.path, to.path, { archive, follow, onProgress, signal });
    display.done();
    if (skipped.length > 0)
      note(`msb: left out, being neither files nor links: ${printable(skipped.join(", "))}`);
    return;
  }
  if (to.where === "sandbox" && from.where !== "sandbox") {
    const { files } = Sandbox.at(to.sandbox);
    if (from.where === "here")
      await files.upload(from.path, to.path, { archive, follow, onProgress, signal });
    else await files.extract(to.path, tarOfStdin(), { keepOwners: archive, signal });
    return;
  }
  throw new SandboxError(
    "invalid_argument",
    from.where === "sandbox" ? "both ends are sandboxes" : "neither end is a sandbox",
    {
      hint:
        from.where === "sandbox"
          ? "Copy through here: msb cp a:/x - | msb cp - b:/y"
          : "Write a sandbox's path as NAME:PATH: msb cp file box:/tmp",
    },
  );
}

function tarOfStdin(): NodeJS.ReadStream {
  if (!process.stdin.isTTY) return process.stdin;
  throw new SandboxError("invalid_argument", "there is no archive to read: stdin is a terminal", {
    hint: "send a tar to stdin: tar c src | msb cp - box:/app",
  });
}
