import { Command } from "commander";
import { Image } from "../../sdk/index.ts";
import { each } from "../each.ts";

const HELP = `
Takes the name away, and with the last name the image; a digest takes all names. An image that sandboxes stand on stays:
the error names them.

Examples:
  $ msb rmi my/image
  $ msb rmi python:3.11 python:3.12`;

export function command(): Command {
  return new Command("rmi")
    .description("Remove images.")
    .argument("<IMAGE...>", "names or digests")
    .addHelpText("after", HELP)
    .action(removeImages);
}

export function removeImages(names: string[]): Promise<void> {
  return each(names, (name) => Image.remove(name));
}
