import { Command } from "commander";
import { VERSION } from "../../contract/build.ts";
import { Daemon } from "../../sdk/index.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Starts no daemon; what only a daemon knows is shown when one runs.

Examples:
  $ msb version
  $ msb version --json`;

export function command(): Command {
  return new Command("version")
    .description("Show versions.")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async ({ json }: { json?: boolean }) => {
      const daemon = (await Daemon.status()) ? await Daemon.version() : undefined;
      const client = { version: VERSION, node: process.version };
      if (json) {
        printJson({ client, daemon: daemon ?? null });
        return;
      }
      print(`msb       ${client.version}`);
      print(`node      ${client.node}`);
      if (!daemon) return;
      print(`daemon    ${daemon.version} (API ${daemon.api}, node ${daemon.node})`);
      if (daemon.qemu !== undefined) print(`qemu      ${daemon.qemu}`);
      if (daemon.assets !== undefined) print(`assets    ${daemon.assets}`);
    });
}
