import { Command } from "commander";
import { Image } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { type ReportFlags, reporterOf } from "../reporter.ts";
import { print, printable } from "../terminal.ts";

const HELP = `
What is here already is not fetched again. Prints the digest by which the registry knows the image, then its name.

Examples:
  $ msb pull python:3.12
  $ msb pull --platform linux/arm64 debian:12-slim
  $ msb pull --digest sha256:9f2e… ghcr.io/my/app:1        refuses anything else under this name
  $ msb pull --json python | jq -c 'select(.type == "result")'`;

interface PullFlags extends ReportFlags {
  platform?: string;
  digest?: string;
}

export function command(): Command {
  return new Command("pull")
    .description("Fetch an image from its registry, ready to run.")
    .argument("<NAME>", "reference, as python:3.12, ghcr.io/my/app or name@sha256:…")
    .option("--platform <PLATFORM>", "variant to fetch, as linux/arm64 (default: this machine's)")
    .option("--digest <DIGEST>", "refuse the image unless its manifest or index has this digest")
    .option("-q, --quiet", "no progress, and print only the name")
    .option("--json", "print one JSON event per line; the last one has the result")
    .addHelpText("after", HELP)
    .action((name: string, flags: PullFlags) => interruptible((signal) => pull(name, flags, signal)));
}

async function pull(name: string, flags: PullFlags, signal: AbortSignal): Promise<void> {
  using reporter = reporterOf(flags);
  const { platform, digest } = flags;
  const image = await Image.pull(name, { platform, digest, signal, onProgress: reporter.update });
  reporter.done(image);
  if (flags.json) return;
  if (!flags.quiet) print(`Digest: ${image.manifestDigest ?? image.digest}`);
  print(printable(image.name));
}
