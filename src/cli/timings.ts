import type { Span } from "../sdk/index.ts";
import { printTable } from "./table.ts";
import { note } from "./terminal.ts";

/** Prints the steps of a start on stderr, and what this process adds to them. */
export function printTimings(spans: readonly Span[], more: readonly Span[] = []): void {
  const ms = (value: number) => value.toFixed(1).padStart(8);
  const rows = (list: readonly Span[]) =>
    list.map(({ name, startMs, durationMs }) => [name, ms(startMs), ms(durationMs)]);
  note("");
  printTable(["STEP", " FROM ms", " TOOK ms"], [...rows(spans), ...rows(more)], note);
}
