import { Command } from "commander";
import { Image } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { type ReportFlags, reporterOf } from "../reporter.ts";
import { print, printable } from "../terminal.ts";

const HELP = `
The registry is the one in the name: give the image such a name with msb tag, or the way with --to.

Examples:
  $ msb push registry.example.com/team/app:1
  $ msb push my/app --to registry.example.com/team/app:2
  $ msb tag my/app ghcr.io/me/app && msb push ghcr.io/me/app`;

interface PushFlags extends ReportFlags {
  to?: string;
}

export function command(): Command {
  return new Command("push")
    .description("Give an image to a registry.")
    .argument("<IMAGE>", "name or digest of the image")
    .option("--to <REFERENCE>", "where to, as registry/repository:tag (default: what the name says)")
    .option("-q, --quiet", "no progress, and print only the reference")
    .option("--json", "print one JSON event per line; the last one has the result")
    .addHelpText("after", HELP)
    .action((name: string, flags: PushFlags) => interruptible((signal) => push(name, flags, signal)));
}

async function push(name: string, flags: PushFlags, signal: AbortSignal): Promise<void> {
  using reporter = reporterOf(flags);
  const pushed = await Image.push(name, { reference: flags.to, signal, onProgress: reporter.update });
  reporter.done(pushed);
  if (flags.json) return;
  if (!flags.quiet) print(`Digest: ${pushed.digest}`);
  print(printable(pushed.reference));
}
