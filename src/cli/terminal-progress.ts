import type { Progress } from "../sdk/index.ts";
import { LayerTable } from "./layer-table.ts";
import { LiveLines } from "./live-lines.ts";
import type { ProgressView } from "./progress-view.ts";
import { printable } from "./terminal.ts";

const FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const FRAME_MS = 100;

/** Progress on a terminal: a line for what is being done, and one for each layer that is on its way. */
export class TerminalProgress implements ProgressView {
  readonly #lines = new LiveLines();
  readonly #layers = new LayerTable();
  readonly #beganMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #onResize = () => this.#draw();
  #current: Progress | undefined;
  #frame = 0;

  constructor(beganMs: number) {
    this.#beganMs = beganMs;
    this.#timer = setInterval(() => {
      this.#frame++;
      this.#draw();
    }, FRAME_MS);
    process.stderr.on("resize", this.#onResize);
  }

  update(progress: Progress): void {
    const isFirst = this.#current === undefined;
    this.#current = progress;
    if (progress.layer !== undefined) this.#layers.update(progress.layer, performance.now());
    else if (this.#layers.isOver) this.#layers.clear();
    if (isFirst) this.#draw();
  }

  begin(task: string): void {
    this.update({ task });
    this.print(printable(task));
  }

  print(lines: string): void {
    this.#lines.wipe();
    process.stderr.write(`${lines}\n`);
    this.#draw();
  }

  done(): void {
    clearInterval(this.#timer);
    process.stderr.off("resize", this.#onResize);
    this.#current = undefined;
    this.#lines.wipe();
  }

  #draw(): void {
    if (this.#current === undefined) return;
    const { task, fraction } = this.#current;
    const share = fraction === undefined ? "" : ` ${Math.round(fraction * 100)} %`;
    const seconds = Math.floor((performance.now() - this.#beganMs) / 1000);
    const head = `${FRAMES[this.#frame % FRAMES.length]} ${printable(task)}${share} (${seconds} s)`;
    const { columns, rows } = this.#lines;
    this.#lines.draw([head, ...this.#layers.lines(columns, rows - 2, performance.now())]);
  }
}
