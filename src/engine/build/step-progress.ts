import type { Progress } from "../../contract/index.ts";

/** Tells how far a build is: which step of how many, in which stage, and what it writes. */
export class StepProgress {
  readonly #tell: (progress: Progress) => void;
  readonly #total: number;
  #stage = "";
  #step = 0;
  #task = "";

  /** `total`: steps of all stages. */
  constructor(tell: ((progress: Progress) => void) | undefined, total: number) {
    this.#tell = tell ?? (() => {});
    this.#total = total;
  }

  /** `name`: "" where there is only one. */
  stage(name: string): void {
    this.#stage = name === "" ? "" : `${name} `;
  }

  next(): void {
    this.#step++;
  }

  step(source: string, cached = false): void {
    this.#task = `[${this.#stage}${this.#step}/${this.#total}] ${cached ? "CACHED " : ""}${source}`;
    this.#tell({ task: this.#task });
  }

  /** What the step has just written. */
  output(output: string): void {
    this.#tell({ task: this.#task, output });
  }
}
