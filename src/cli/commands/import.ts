import { readFileSync } from "node:fs";
import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Image } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { ProgressDisplay } from "../progress.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
A folder is packed with this machine's tar: owners, modes, links and extended attributes stay as they are.

Examples:
  $ msb import rootfs.tar my/image
  $ msb import rootfs.tar.zst my/image --config config.json
  $ msb import ./rootfs my/image
  $ docker export $(docker create alpine) | msb import - alpine`;

interface ImportFlags {
  config?: string;
  json?: boolean;
}

export function command(): Command {
  return new Command("import")
    .description("Make an image of a root file system: a folder, or a tar (plain, gzip or zstd).")
    .argument("<FILE|FOLDER>", "the tar or the folder; - for a tar on stdin")
    .argument("<NAME>", "name to give the image")
    .option("--config <FILE>", "OCI image config (env, user, workdir, entrypoint, command), as JSON")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action((source: string, name: string, flags: ImportFlags) =>
      interruptible((signal) => importImage(source, name, flags, signal)),
    );
}

async function importImage(
  source: string,
  name: string,
  flags: ImportFlags,
  signal: AbortSignal,
): Promise<void> {
  const config = flags.config === undefined ? undefined : readConfig(flags.config);
  using progress = new ProgressDisplay();
  const image = await Image.import(name, source === "-" ? process.stdin : source, {
    config,
    signal,
    onProgress: progress.update,
  });
  progress.done();
  if (flags.json) printJson(image);
  else print(image.name);
}

function readConfig(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new SandboxError("invalid_argument", `${file} is not JSON: ${cause.message}`, { cause });
  }
}
