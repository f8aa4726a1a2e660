import { Command } from "commander";
import { allMetrics, type SandboxMetrics } from "../../sdk/index.ts";
import { FullScreen } from "../full-screen.ts";
import { METRICS_HEADING, metricsRow } from "../metrics-table.ts";
import { parseMilliseconds } from "../quantity.ts";
import { printTable } from "../table.ts";

const HELP = `
In a terminal it is live: q or Ctrl-C ends it. Otherwise it prints the table once.

Examples:
  $ msb top
  $ msb top --interval 5s
  $ msb top | sort -k2 -rn`;

export function command(): Command {
  return new Command("top")
    .description("Show what all running sandboxes use, live.")
    .option("--interval <TIME>", "between two looks (default: 1s)", parseMilliseconds, 1_000)
    .addHelpText("after", HELP)
    .action(({ interval }: { interval: number }) => top(interval));
}

async function top(intervalMs: number): Promise<void> {
  let before = new Map<string, SandboxMetrics>();
  const look = async (signal?: AbortSignal): Promise<string[]> => {
    const now = await allMetrics({ signal });
    const lines: string[] = [];
    const rows = now.map((metrics) => metricsRow(metrics, before.get(metrics.sandbox)));
    printTable(METRICS_HEADING, rows, (line) => lines.push(line));
    before = new Map(now.map((metrics) => [metrics.sandbox, metrics]));
    return lines;
  };
  if (!process.stdout.isTTY) {
    await look();
    await new Promise((resolve) => setTimeout(resolve, Math.min(intervalMs, 1_000)));
    for (const line of await look()) process.stdout.write(`${line}\n`);
    return;
  }
  using screen = new FullScreen();
  while (!screen.left.aborted) {
    const lines = await look(screen.left).catch((error) => {
      if (!screen.left.aborted) throw error;
      return [];
    });
    if (screen.left.aborted) return;
    screen.draw(["msb top · q quits", "", ...lines]);
    await screen.pause(Math.max(100, intervalMs));
  }
}
