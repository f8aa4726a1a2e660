const ESCAPE = "\x1b";
/** A control sequence, or one character. */
const PARTS = new RegExp(`${ESCAPE}\\[\\d*[A-Z]|[^${ESCAPE}]`, "gu");

/** As much of a terminal as our display needs: it wraps, scrolls, and re-wraps when its width changes. */
export class Screen {
  columns: number;
  rows: number;
  /** Each is a line as it was ended with a newline, however many rows it takes. */
  #lines: string[] = [""];
  #line = 0;
  #column = 0;

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
  }

  write(text: string): boolean {
    for (const [part] of text.matchAll(PARTS)) this.#act(part);
    return true;
  }

  /** What is seen, without blank lines at the end. */
  get text(): string {
    return this.#lines
      .map((line) => line.trimEnd())
      .join("\n")
      .trimEnd();
  }

  #act(part: string): void {
    const line = this.#lines[this.#line]!;
    if (part === "\r") {
      // To the start of the row, which need not be that of the line.
      this.#column -= this.#column % this.columns;
    } else if (part === "\n") {
      this.#line++;
      this.#column = 0;
      this.#lines[this.#line] ??= "";
    } else if (part === "\x1b[K") this.#lines[this.#line] = line.slice(0, this.#column);
    else if (part === "\x1b[J") {
      this.#lines[this.#line] = line.slice(0, this.#column);
      this.#lines.length = this.#line + 1;
    } else if (part.endsWith("A")) {
      for (let count = Number(part.slice(2, -1)); count > 0; count--) this.#up();
    } else if (part.startsWith("\x1b")) throw new Error(`unknown sequence ${JSON.stringify(part)}`);
    else {
      this.#lines[this.#line] =
        line.padEnd(this.#column).slice(0, this.#column) + part + line.slice(this.#column + 1);
      this.#column++;
    }
  }

  #up(): void {
    if (this.#column >= this.columns) {
      this.#column -= this.columns;
      return;
    }
    if (this.#line === 0) return;
    this.#line--;
    const rows = Math.max(1, Math.ceil(this.#lines[this.#line]!.length / this.columns));
    this.#column += (rows - 1) * this.columns;
  }
}
