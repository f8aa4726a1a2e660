import { Command } from "commander";
import { Image } from "../../sdk/index.ts";
import { print, printable } from "../terminal.ts";

const HELP = `
An image may have many names. One that had the name before loses it.

Examples:
  $ msb tag my/app my/app:1
  $ msb tag my/app registry.example.com/team/app:1 && msb push registry.example.com/team/app:1`;

export function command(): Command {
  return new Command("tag")
    .description("Give an image another name.")
    .argument("<IMAGE>", "name or digest of the image")
    .argument("<NAME>", "the name to give it")
    .addHelpText("after", HELP)
    .action(async (source: string, target: string) => {
      print(printable((await Image.tag(source, target)).name));
    });
}
