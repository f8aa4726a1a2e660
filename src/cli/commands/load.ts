import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Image } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { type ReportFlags, reporterOf } from "../reporter.ts";
import { print, printable, printJson } from "../terminal.ts";

const HELP = `
The archive is an OCI layout as a tar, or what docker save wrote: plain, gzip or zstd. Prints the names of what it held.

Examples:
  $ msb load -i python.tar
  $ docker save my/app | msb load`;

interface LoadFlags extends ReportFlags {
  input?: string;
}

export function command(): Command {
  return new Command("load")
    .description("Read the images of an archive.")
    .option("-i, --input <FILE>", "file to read (default: stdin)")
    .option("-q, --quiet", "no progress")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action((flags: LoadFlags) => interruptible((signal) => load(flags, signal)));
}

async function load({ input, quiet, json }: LoadFlags, signal: AbortSignal): Promise<void> {
  if (input === undefined && process.stdin.isTTY) {
    throw new SandboxError("invalid_argument", "there is no archive to read: stdin is a terminal", {
      hint: "give a file with -i, or send one to stdin",
    });
  }
  using reporter = reporterOf({ quiet: quiet ?? json ?? false });
  const images = await Image.load(input ?? process.stdin, { signal, onProgress: reporter.update });
  reporter.done(images);
  if (json) printJson(images);
  else for (const { name, digest } of images) print(name === "" ? digest : printable(name));
}
