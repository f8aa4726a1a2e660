import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { allMetrics, Sandbox } from "../../sdk/index.ts";
import { METRICS_HEADING, metricsRow } from "../metrics-table.ts";
import { printTable } from "../table.ts";
import { printJson } from "../terminal.ts";

const HELP = `
WAIT is the largest share of the last ten seconds in which something waited for a CPU, memory or a disk.

Examples:
  $ msb stats box
  $ msb stats --json box | jq .guest.memory
  $ msb stats                        all that run`;

/** CPU is a difference of two looks. */
const BETWEEN_MS = 500;

export function command(): Command {
  return new Command("stats")
    .description("Show what running sandboxes use now.")
    .argument("[SANDBOX...]", "names or ids (default: all that run)")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async (refs: string[], { json }: { json?: boolean }) => {
      const look = () =>
        refs.length === 0 ? allMetrics() : Promise.all(refs.map((ref) => Sandbox.at(ref).metrics()));
      const first = await look();
      if (json) {
        printJson(refs.length === 1 ? first[0] : first);
        return;
      }
      await sleep(BETWEEN_MS);
      const before = new Map(first.map((metrics) => [metrics.sandbox, metrics]));
      const now = await look();
      printTable(
        METRICS_HEADING,
        now.map((metrics) => metricsRow(metrics, before.get(metrics.sandbox))),
      );
    });
}
