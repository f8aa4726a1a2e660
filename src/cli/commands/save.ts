import { Command, Option } from "commander";
import { type ArchiveFormat, Image } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { tarToStdout } from "../tar-output.ts";

const HELP = `
Both formats hold several images, and docker load reads both.

Examples:
  $ msb save python:3.12 -o python.tar
  $ msb save my/app my/app:1 | zstd > app.tar.zst
  $ msb save --format docker my/app | docker load`;

interface SaveFlags {
  output?: string;
  format?: ArchiveFormat;
}

export function command(): Command {
  return new Command("save")
    .description("Write images as one archive.")
    .argument("<IMAGE...>", "names or digests")
    .option("-o, --output <FILE>", "file to write (default: stdout)")
    .addOption(
      new Option("--format <FORMAT>", "an OCI layout, or as docker save has it (default: oci)").choices([
        "oci",
        "docker",
      ]),
    )
    .addHelpText("after", HELP)
    .action((names: string[], { output, format }: SaveFlags) =>
      interruptible(async (signal) => {
        if (output !== undefined) await Image.save(names, { format, to: output, signal });
        else await tarToStdout(() => Image.save(names, { format, signal }));
      }),
    );
}
