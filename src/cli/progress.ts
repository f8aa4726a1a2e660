import type { Progress } from "../sdk/index.ts";
import { note } from "./terminal.ts";

/** Nobody wants to read of what is over before it is read. */
const PATIENCE_MS = 500;
const FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

/**
 * Tells on stderr what takes longer than half a second: one line that changes on a terminal, a line per task otherwise.
 * The command's own output never mixes with it: `done` wipes the line first.
 */
export class ProgressLine implements Disposable {
  readonly #onTerminal = process.stderr.isTTY === true && process.env.TERM !== "dumb";
  readonly #began = performance.now();
  #current: Progress | undefined;
  #printed: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;
  #done = false;

  readonly update = (progress: Progress): void => {
    if (this.#done) return;
    this.#current = progress;
    if (this.#timer) return;
    this.#timer = setTimeout(
      () => this.#show(),
      Math.max(0, PATIENCE_MS - (performance.now() - this.#began)),
    );
  };

  /** There is nothing more to wait for. */
  readonly done = (): void => {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    if (this.#onTerminal && this.#printed !== undefined) process.stderr.write("\r\x1b[K");
  };

  [Symbol.dispose](): void {
    this.done();
  }

  #show(): void {
    const { task, fraction } = this.#current!;
    if (this.#onTerminal) {
      const share = fraction === undefined ? "" : ` ${Math.round(fraction * 100)} %`;
      const seconds = Math.floor((performance.now() - this.#began) / 1000);
      const spinner = FRAMES[this.#frame++ % FRAMES.length];
      const line = `${spinner} ${task}${share} (${seconds} s)`;
      process.stderr.write(`\r\x1b[K${line.slice(0, Math.max(20, (process.stderr.columns || 80) - 1))}`);
      this.#printed = line;
    } else if (task !== this.#printed) {
      note(`msb: ${task} …`);
      this.#printed = task;
    }
    this.#timer = setTimeout(() => this.#show(), this.#onTerminal ? 100 : PATIENCE_MS);
  }
}
