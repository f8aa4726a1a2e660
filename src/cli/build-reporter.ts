import type { Progress } from "../sdk/index.ts";
import { BuildOutput, outputLine } from "./build-output.ts";
import { openView } from "./open-view.ts";
import { jsonReporter } from "./reporter.ts";
import { note } from "./terminal.ts";

/** Who hears of a build: a person, a program, or nobody unless it fails. */
export interface BuildReporter {
  update(progress: Progress): void;
  done(result: unknown): void;
  /** Ends it; whatever is needed to understand the failure has been told. */
  failed(): void;
}

/** How much of a quiet build's output is told when it fails. */
const MAX_TAIL = 64 * 1024;

export function buildReporter(flags: { quiet?: boolean; json?: boolean; progress: string }): BuildReporter {
  if (flags.json) return { ...jsonReporter(), failed() {} };
  if (flags.quiet) return new QuietBuild();
  const output = new BuildOutput(openView({ plain: flags.progress === "plain" }));
  return { update: output.update, done: () => output.done(), failed: () => output.done() };
}

class QuietBuild implements BuildReporter {
  #step = "";
  #tail = "";

  readonly update = ({ task, layer, output = "" }: Progress): void => {
    if (layer !== undefined) return;
    if (task !== this.#step) this.#tail = "";
    this.#step = task;
    this.#tail = (this.#tail + output).slice(-MAX_TAIL);
  };

  done(): void {}

  failed(): void {
    for (const line of this.#tail.replace(/\n$/, "").split("\n")) {
      if (line !== "") note(`  ${outputLine(line)}`);
    }
  }
}
