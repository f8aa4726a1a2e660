import { Command } from "commander";
import { Image } from "../../sdk/index.ts";
import { shortDigest } from "../layer-table.ts";
import { formatAge, formatBytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printable, printJson } from "../terminal.ts";
import { removeImages } from "./rmi.ts";

const HELP = `
Examples:
  $ msb images
  $ msb images --digests                by which their registries know them
  $ msb rmi $(msb images -q)
  $ msb images --json | jq -r '.[].name'`;

interface ImagesFlags {
  quiet?: boolean;
  digests?: boolean;
  json?: boolean;
}

export function command(): Command {
  const images = withFlags(new Command("images").description("List images."))
    .addHelpText("after", HELP)
    .action(list);
  withFlags(images.command("ls"))
    .description("List images, as msb images does.")
    .addHelpText("after", "\nExamples:\n  $ msb images ls")
    .action((_flags, command: Command) => list(command.optsWithGlobals()));
  images
    .command("rm")
    .description("Remove images, as msb rmi does.")
    .argument("<IMAGE...>", "names or digests")
    .addHelpText("after", "\nExamples:\n  $ msb images rm my/image")
    .action(removeImages);
  return images;
}

function withFlags(command: Command): Command {
  return command
    .option("-q, --quiet", "only their digests")
    .option("--digests", "show the digests by which registries know them")
    .option("--json", "print JSON");
}

async function list({ quiet, digests, json }: ImagesFlags): Promise<void> {
  const found = await Image.list();
  if (json) {
    printJson(found);
    return;
  }
  if (quiet) {
    for (const digest of new Set(found.map((image) => image.digest))) print(digest);
    return;
  }
  printTable(
    ["NAME", ...(digests ? ["REGISTRY DIGEST"] : []), "DIGEST", "SIZE", "AGE"],
    found.map(({ name, digest, manifestDigest, sizeBytes, createdAt }) => [
      name === "" ? "<none>" : printable(name),
      ...(digests ? [printable(manifestDigest ?? "<none>")] : []),
      shortDigest(digest),
      formatBytes(sizeBytes),
      formatAge(createdAt),
    ]),
  );
}
