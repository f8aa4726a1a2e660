import { Command } from "commander";
import { Registry } from "../../sdk/index.ts";
import { print } from "../terminal.ts";

const HELP = `
Examples:
  $ msb logout
  $ msb logout registry.example.com`;

export function command(): Command {
  return new Command("logout")
    .description("Forget the credentials for a registry.")
    .argument("[HOST]", "the registry", "docker.io")
    .addHelpText("after", HELP)
    .action(async (registry: string) => {
      await Registry.logout(registry);
      print(`logged out of ${registry}`);
    });
}
