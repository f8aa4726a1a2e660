import type { Progress } from "../sdk/index.ts";

/** Where progress is shown: lines that change in place on a terminal, plain lines elsewhere. */
export interface ProgressView {
  update(progress: Progress): void;
  /** Prints a line for a step that begins; it stays. */
  begin(task: string): void;
  /** Prints lines that stay. */
  print(lines: string): void;
  /** Nothing of it is left that is not meant to stay. */
  done(): void;
}
