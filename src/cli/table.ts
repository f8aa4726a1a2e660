import { print } from "./terminal.ts";

/** Prints rows under a heading, columns as wide as they need to be; the last one is not padded. */
export function printTable(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  write: (line: string) => void = print,
): void {
  const lines = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  for (const line of lines) {
    write(
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  }
}
