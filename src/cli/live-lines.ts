import { cut, displayWidth } from "./display-width.ts";

/** Lines at the end of a terminal that change in place. */
export class LiveLines {
  readonly #terminal: NodeJS.WriteStream;
  /** Widths of the lines that stand there; the cursor is at the end of the last. */
  #widths: number[] = [];

  constructor(terminal: NodeJS.WriteStream = process.stderr) {
    this.#terminal = terminal;
  }

  /** The last column stays free: whether a full line has wrapped is a question that terminals answer differently. */
  get columns(): number {
    return Math.max(10, (this.#terminal.columns || 80) - 1);
  }

  get rows(): number {
    return Math.max(2, this.#terminal.rows || 24);
  }

  /** Shows these in place of those that stand there; each is cut to the terminal's width. */
  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, this.rows - 1).map((line) => cut(line, this.columns));
    // Each line's rest is wiped behind it, not before it: an empty screen between two pictures is seen as flicker.
    this.#terminal.write(`${this.#home()}${shown.join("\x1b[K\n")}\x1b[J`);
    this.#widths = shown.map(displayWidth);
  }

  /** Nothing of them is left, and the cursor is where the first began. */
  wipe(): void {
    if (this.#widths.length === 0) return;
    this.#terminal.write(`${this.#home()}\x1b[J`);
    this.#widths = [];
  }

  /** Somebody else has emptied the screen. */
  forget(): void {
    this.#widths = [];
  }

  #home(): string {
    // A terminal that was made narrower has wrapped the lines: they take more rows now than when they were drawn.
    const columns = this.#terminal.columns || 80;
    const rows = this.#widths.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
    return rows > 1 ? `\x1b[${rows - 1}A\r` : "\r";
  }
}
