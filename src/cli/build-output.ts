import { stripVTControlCharacters } from "node:util";
import type { Progress } from "../sdk/index.ts";
import type { ProgressView } from "./progress-view.ts";
import { printable } from "./terminal.ts";

/** A longer line is printed in pieces. */
const MAX_LINE = 16 * 1024;

/**
 * What a build tells: a line for each step, and below it what the step writes, indented. Colours and cursor movements of a step's output
 * are taken out: a Dockerfile from anywhere must not write to the terminal. Of a line that is written over (a progress bar) its last
 * state is shown.
 */
export class BuildOutput {
  readonly #view: ProgressView;
  #step: string | undefined;
  #rest = "";

  constructor(view: ProgressView) {
    this.#view = view;
  }

  readonly update = (progress: Progress): void => {
    const { task, layer, output } = progress;
    if (layer !== undefined) {
      this.#view.update(progress);
      return;
    }
    if (task !== this.#step) {
      this.#endLine();
      this.#step = task;
      this.#view.begin(task);
    }
    if (output !== undefined) this.#write(output);
  };

  done(): void {
    this.#endLine();
    this.#view.done();
  }

  #write(output: string): void {
    const lines = (this.#rest + output).split("\n");
    this.#rest = lines.pop() ?? "";
    if (lines.length > 0) this.#print(lines);
    // A line without end is printed in pieces rather than kept.
    if (this.#rest.length > MAX_LINE) this.#endLine();
  }

  #endLine(): void {
    if (this.#rest !== "") this.#print([this.#rest]);
    this.#rest = "";
  }

  #print(lines: readonly string[]): void {
    this.#view.print(lines.map((line) => `  ${outputLine(line)}`.trimEnd()).join("\n"));
  }
}

/** One line of output as it may be shown. */
export function outputLine(line: string): string {
  const last = line.replace(/\r+$/, "").split("\r").at(-1) ?? "";
  return stripVTControlCharacters(last).split("\t").map(printable).join("\t");
}
