import { readFileSync } from "node:fs";
import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Image } from "../../sdk/index.ts";
import { ProgressLine } from "../progress.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Examples:
  $ msb import rootfs.tar my/image
  $ msb import rootfs.tar.zst my/image --config config.json
  $ docker export $(docker create alpine) | msb import - alpine`;

export function command(): Command {
  return new Command("import")
    .description("Make an image of a root file system tar: plain, gzip or zstd.")
    .argument("<FILE>", "the tar; - for stdin")
    .argument("<NAME>", "name to give the image")
    .option("--config <FILE>", "OCI image config (env, user, workdir, entrypoint, command), as JSON")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async (file: string, name: string, flags: { config?: string; json?: boolean }) => {
      const config = flags.config === undefined ? undefined : readConfig(flags.config);
      using progress = new ProgressLine();
      const image = await Image.import(name, file === "-" ? process.stdin : file, {
        config,
        onProgress: progress.update,
      });
      progress.done();
      if (flags.json) printJson(image);
      else print(image.name);
    });
}

function readConfig(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new SandboxError("invalid_argument", `${file} is not JSON: ${cause.message}`, { cause });
  }
}
