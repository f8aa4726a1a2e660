/** A promise and what came of it. */
export interface Verdict {
  promise: string;
  measured: string;
  kept: boolean;
}

/** What a bench found: rows for people, the same and all details for programs. */
export interface Report {
  bench: string;
  columns: string[];
  rows: (string | number)[][];
  verdicts: Verdict[];
  details: unknown;
}

/** The report as a Markdown table, ready for the README. */
export function asTable({ columns, rows, verdicts }: Report): string {
  const line = (cells: (string | number)[]) => `| ${cells.map(show).join(" | ")} |`;
  const table = [line(columns), line(columns.map(() => "---")), ...rows.map(line)];
  const promises = verdicts.map(
    ({ promise, measured, kept }) => `${kept ? "kept  " : "BROKEN"} ${promise}: ${measured}`,
  );
  return [...table, "", ...promises].join("\n");
}

function show(cell: string | number): string {
  return typeof cell === "number" ? (Math.abs(cell) >= 100 ? cell.toFixed(0) : cell.toFixed(1)) : cell;
}
