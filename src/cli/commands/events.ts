import { Command } from "commander";
import { events } from "../../sdk/index.ts";
import { parseCount } from "../quantity.ts";
import { writeTo } from "../terminal.ts";

const HELP = `
Goes on until Ctrl-C.

Examples:
  $ msb events
  $ msb events --since 0 --json`;

export function command(): Command {
  return new Command("events")
    .description("Show events as they happen.")
    .option("--since <SEQ>", "first those after this number; 0 for all that are kept", parseCount)
    .option("--json", "print one JSON object per line")
    .addHelpText("after", HELP)
    .action(async ({ since, json }: { since?: number; json?: boolean }) => {
      const stop = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
      try {
        for await (const event of events({ since, signal: stop.signal })) {
          const { seq, time, type, sandbox = "-", message = "" } = event;
          const line = json
            ? JSON.stringify(event)
            : `${seq} ${time} ${type} ${sandbox} ${message}`.trimEnd();
          await writeTo("stdout", `${line}\n`);
        }
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    });
}
