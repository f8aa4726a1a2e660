import { LiveLines } from "./live-lines.ts";

/** The other screen of the terminal, which leaves what was there as it was; and no cursor on it. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[H";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const CTRL_C = "\x03";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** The whole terminal, until q, Ctrl-C or a signal; what is drawn follows its size. However it ends, the terminal is as it was. */
export class FullScreen implements Disposable {
  readonly #leaving = new AbortController();
  readonly #lines = new LiveLines(process.stdout);
  #shown: readonly string[] = [];
  #ended = false;

  constructor() {
    process.stdout.write(ENTER);
    process.stdout.on("resize", this.#resize);
    if (process.stdin.isTTY) {
      process.stdin.setRawMode(true);
      process.stdin.on("data", this.#key);
      process.stdin.resume();
    }
    for (const signal of SIGNALS) process.on(signal, this.#leave);
    // Also when an error ends the process.
    process.on("exit", this.#restore);
  }

  /** Aborted when the user has had enough. */
  get left(): AbortSignal {
    return this.#leaving.signal;
  }

  draw(lines: readonly string[]): void {
    this.#shown = lines;
    this.#lines.draw(lines);
  }

  /** Waits, or until it is left. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.left.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.left.addEventListener("abort", done);
      if (this.left.aborted) done();
    });
  }

  [Symbol.dispose](): void {
    process.stdout.off("resize", this.#resize);
    process.stdin.off("data", this.#key);
    process.stdin.pause();
    for (const signal of SIGNALS) process.off(signal, this.#leave);
    process.off("exit", this.#restore);
    this.#restore();
  }

  readonly #resize = () => {
    // Wrapped rows of the old size are nowhere to be counted on: begin anew at the top.
    process.stdout.write("\x1b[H\x1b[2J");
    this.#lines.forget();
    this.#lines.draw(this.#shown);
  };

  readonly #key = (data: Buffer) => {
    const keys = data.toString("latin1");
    if (keys.includes("q") || keys.includes("Q") || keys.includes(CTRL_C)) this.#leave();
  };

  readonly #leave = () => this.#leaving.abort();

  readonly #restore = () => {
    if (this.#ended) return;
    this.#ended = true;
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    process.stdout.write(LEAVE);
  };
}
