import { Command, Option } from "commander";
import { Image, Sandbox } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { tarToStdout } from "../tar-output.ts";
import { sandboxOrImage } from "./inspect.ts";

const HELP = `
Of a sandbox, which has to run, it is the image with what was written on top; of an image, all layers merged. A name
that a sandbox and an image have is the sandbox's.

Examples:
  $ msb export box -o box.tar
  $ msb export box | msb import - my/snapshot
  $ msb export python:3.12 | tar -t | less`;

interface ExportFlags {
  output?: string;
  type?: "sandbox" | "image";
}

export function command(): Command {
  return new Command("export")
    .description("Write the file system of a sandbox or an image as one tar.")
    .argument("<SANDBOX|IMAGE>", "name or id of a sandbox, name or digest of an image")
    .option("-o, --output <FILE>", "file to write (default: stdout)")
    .addOption(new Option("--type <TYPE>", "look only for this").choices(["sandbox", "image"]))
    .addHelpText("after", HELP)
    .action((ref: string, flags: ExportFlags) => interruptible((signal) => exportTar(ref, flags, signal)));
}

async function exportTar(ref: string, { output, type }: ExportFlags, signal: AbortSignal): Promise<void> {
  const found =
    type ??
    (await sandboxOrImage(
      ref,
      async () => {
        await Sandbox.get(ref, { signal });
        return "sandbox";
      },
      async () => {
        await Image.inspect(ref, { signal });
        return "image";
      },
    ));
  const sandbox = Sandbox.at(ref);
  if (output === undefined) {
    await tarToStdout(() =>
      found === "sandbox" ? sandbox.export({ signal }) : Image.export(ref, { signal }),
    );
  } else if (found === "sandbox") await sandbox.export({ to: output, signal });
  else await Image.export(ref, { to: output, signal });
}
