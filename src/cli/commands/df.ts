import { Command } from "commander";
import { Image } from "../../sdk/index.ts";
import { formatBytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
Bytes are what the files take on disk. msb prune frees what is reclaimable.

Examples:
  $ msb df
  $ msb df --json | jq .totalBytes`;

export function command(): Command {
  return new Command("df")
    .description("Say where the space of the image store went.")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async ({ json }: { json?: boolean }) => {
      const usage = await Image.usage();
      if (json) {
        printJson(usage);
        return;
      }
      const row = (what: string, part: { count: number; bytes: number; reclaimableBytes?: number }) => [
        what,
        String(part.count),
        formatBytes(part.bytes),
        part.reclaimableBytes === undefined ? "" : formatBytes(part.reclaimableBytes),
      ];
      printTable(
        ["WHAT", "COUNT", "SIZE", "RECLAIMABLE"],
        [row("images", usage.images), row("layers", usage.layers), row("build cache", usage.buildCache)],
      );
      const quota = usage.quotaBytes === undefined ? "" : ` of ${formatBytes(usage.quotaBytes)}`;
      print(`\nin all ${formatBytes(usage.totalBytes)}${quota}`);
    });
}
