import { Command } from "commander";
import { Image } from "../../sdk/index.ts";
import { formatAge, formatBytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Examples:
  $ msb images
  $ msb images rm my/image`;

export function command(): Command {
  const images = new Command("images")
    .description("List and remove images.")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(list);
  images
    .command("ls")
    .description("List images, as msb images does.")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb images ls")
    .action((_flags, command: Command) => list(command.optsWithGlobals()));
  images
    .command("rm")
    .description("Remove images.")
    .argument("<NAME...>", "names")
    .addHelpText("after", "\nExamples:\n  $ msb images rm my/image")
    .action(async (names: string[]) => {
      for (const name of names) {
        await Image.remove(name);
        print(name);
      }
    });
  return images;
}

async function list({ json }: { json?: boolean }): Promise<void> {
  const found = await Image.list();
  if (json) {
    printJson(found);
    return;
  }
  printTable(
    ["NAME", "DIGEST", "SIZE", "AGE"],
    found.map(({ name, digest, sizeBytes, createdAt }) => [
      name,
      digest.replace(/^sha256:/, "").slice(0, 12),
      formatBytes(sizeBytes),
      formatAge(createdAt),
    ]),
  );
}
