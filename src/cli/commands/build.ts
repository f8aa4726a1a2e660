import { Command, Option } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Image, type ImageInfo } from "../../sdk/index.ts";
import { buildReporter } from "../build-reporter.ts";
import { interruptible } from "../interruption.ts";
import { parseCount, parseMebibytes } from "../quantity.ts";
import type { ReportFlags } from "../reporter.ts";
import { pairs, pairsFromHere } from "../sandbox-flags.ts";
import { bytesOfStdin } from "../stdin.ts";
import { print, printable } from "../terminal.ts";

const HELP = `
Every RUN step runs in a microVM of its own, never on this machine itself. What .dockerignore names is not
sent. Steps and their output go to stderr; stdout gets the image's digest and its names.

Examples:
  $ msb build -t my/app .
  $ msb build -t my/app -f docker/Dockerfile --build-arg VERSION=2 --target runtime .
  $ echo 'FROM python:3.12' | msb build -t my/python -f - .
  $ git archive HEAD | msb build -t my/app -`;

interface BuildFlags extends ReportFlags {
  tag?: string[];
  file?: string;
  buildArg?: string[];
  label?: string[];
  target?: string;
  platform?: string;
  cache: boolean;
  pull?: boolean;
  cpus?: number;
  memory?: number;
  net?: "none" | "public" | "any";
  netRule?: string[];
  progress: "auto" | "plain";
}

const MAX_DOCKERFILE_BYTES = 1024 * 1024;

const collect = (value: string, before: string[] = []) => [...before, value];

export function command(): Command {
  return new Command("build")
    .description("Build an image of a Dockerfile, every step in a sandbox of its own.")
    .argument("<PATH>", "folder whose files COPY and ADD take; - for a tar of one on stdin")
    .option("-t, --tag <NAME>", "name to give the image (repeatable)", collect)
    .option("-f, --file <FILE>", "the Dockerfile; - for stdin (default: PATH/Dockerfile)")
    .option(
      "--build-arg <KEY=VALUE>",
      "set an ARG; KEY alone takes its value from here (repeatable)",
      collect,
    )
    .option("--label <KEY=VALUE>", "attach a label (repeatable)", collect)
    .option("--target <STAGE>", "stage to build (default: the last)")
    .option("--platform <PLATFORM>", "platform to build for (default: this machine's)")
    .option("--no-cache", "run every step again")
    .option("--pull", "ask the registries for newer base images")
    .option("-c, --cpus <N>", "virtual CPUs of a step (default: 1)", parseCount)
    .option("-m, --memory <SIZE>", "memory of a step, as 2G (default: 1G)", parseMebibytes)
    .addOption(
      new Option(
        "--net <SCOPE>",
        "what steps reach: none, public (the internet) or any (private networks too) (default: public)",
      ).choices(["none", "public", "any"]),
    )
    .option("--net-rule <RULE>", "as for msb run (repeatable)", collect)
    .addOption(
      new Option("--progress <TYPE>", "plain: lines that stay, on a terminal too")
        .choices(["auto", "plain"])
        .default("auto"),
    )
    .option("-q, --quiet", "print only the digest; of a step that fails, what it wrote last")
    .option("--json", "print one JSON event per line; the last one has the result")
    .addHelpText("after", HELP)
    .action((path: string, flags: BuildFlags) => interruptible((signal) => build(path, flags, signal)));
}

async function build(path: string, flags: BuildFlags, signal: AbortSignal): Promise<void> {
  const { tag = [], target, platform, cache, pull, cpus, memory, quiet, json } = flags;
  const dockerfile = await dockerfileOf(path, flags.file);
  const reporter = buildReporter(flags);
  let image: ImageInfo;
  try {
    image = await Image.build({
      context: path === "-" ? process.stdin : path,
      dockerfile,
      tags: tag,
      buildArgs: pairsFromHere(flags.buildArg ?? [], "--build-arg"),
      labels: pairs(flags.label ?? [], "--label"),
      target,
      platform,
      noCache: !cache,
      pull: pull ?? false,
      cpus,
      memoryMiB: memory,
      network: { ...(flags.net && { scope: flags.net }), rules: flags.netRule ?? [] },
      signal,
      onProgress: reporter.update,
    });
  } catch (error) {
    reporter.failed();
    throw error;
  }
  reporter.done(image);
  if (json) return;
  print(image.digest);
  if (!quiet) for (const name of tag) print(printable(name));
}

async function dockerfileOf(
  path: string,
  file: string | undefined,
): Promise<string | Uint8Array | undefined> {
  if (file !== "-") return file;
  if (path === "-") {
    throw new SandboxError("invalid_argument", "stdin cannot be the Dockerfile and the context");
  }
  return bytesOfStdin(MAX_DOCKERFILE_BYTES);
}
