import type { ExecProcess, ExitStatus } from "../src/sdk/index.ts";
import { Shown } from "./shown.ts";

/** A process with a terminal in a sandbox, driven through the SDK as a person would: keys in, what it shows out. */
export class Screen {
  readonly process: ExecProcess;
  /** How it ended, once all that it wrote was shown. */
  readonly ended: Promise<ExitStatus>;
  readonly #shown = new Shown();

  constructor(process: ExecProcess) {
    this.process = process;
    this.ended = this.#read();
    this.ended.catch(() => {});
  }

  get shown(): string {
    return this.#shown.text;
  }

  async #read(): Promise<ExitStatus> {
    try {
      for await (const event of this.process) {
        if (event.type === "exit") return event;
        if (event.type === "lost" || event.stream !== "stdout") throw new Error("a terminal has one stream");
        this.#shown.add(event.data.toString());
      }
      throw new Error("it was left");
    } finally {
      this.#shown.end();
    }
  }

  async typed(keys: string): Promise<void> {
    await this.process.stdin.write(keys);
  }

  wrote(what: string | RegExp): Promise<RegExpExecArray> {
    return this.#shown.wrote(what);
  }
}
