const PATIENCE_MS = 60_000;

/** What a terminal shows, as it comes. */
export class Shown {
  text = "";
  #from = 0;
  #over = false;
  #changed = () => {};

  add(text: string): void {
    this.text += text;
    this.#changed();
  }

  /** Nothing more will come. */
  end(): void {
    this.#over = true;
    this.#changed();
  }

  /** Waits until it shows this behind what was last waited for. @throws with all that it shows if it ends before */
  async wrote(what: string | RegExp): Promise<RegExpExecArray> {
    const pattern = typeof what === "string" ? new RegExp(what.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")) : what;
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const match = pattern.exec(this.text.slice(this.#from));
      if (match !== null) {
        this.#from += match.index + match[0].length;
        return match;
      }
      const late = Date.now() > deadline;
      if (this.#over || late) {
        throw new Error(`${late ? "in vain" : "it ended"}: no ${pattern} in ${JSON.stringify(this.text)}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
