import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { Shown } from "./shown.ts";

/**
 * A terminal of this machine with a shell script in it, driven as a person would: keys in, what it shows out. It is made by script(1),
 * which every Linux has.
 */
export class LocalTerminal implements AsyncDisposable {
  readonly closed: Promise<number | null>;
  readonly #script: ChildProcessWithoutNullStreams;
  readonly #shown = new Shown();
  #over = false;

  private constructor(script: string, env: NodeJS.ProcessEnv) {
    this.#script = spawn("script", ["-qfec", script, "/dev/null"], { env: { ...env, SHELL: "/bin/sh" } });
    this.#script.stdin.on("error", () => {});
    this.#script.stdout.on("data", (chunk) => {
      this.#shown.add(String(chunk));
    });
    this.closed = once(this.#script, "close").then(([code]) => {
      this.#over = true;
      this.#shown.end();
      return code as number | null;
    });
  }

  /** @param script what runs in it, after the terminal has this size */
  static async open(
    script: string,
    options: { env: NodeJS.ProcessEnv; rows?: number; cols?: number },
  ): Promise<LocalTerminal> {
    const { env, rows = 30, cols = 90 } = options;
    const terminal = new LocalTerminal(
      `stty rows ${rows} cols ${cols}; echo "at $(tty) now"; ${script}`,
      env,
    );
    terminal.#device = (await terminal.wrote(/at (\/dev\/\S+) now/))[1]!;
    return terminal;
  }

  #device = "";

  typed(keys: string): void {
    this.#script.stdin.write(keys);
  }

  resize(rows: number, cols: number): void {
    execFileSync("stty", ["-F", this.#device, "rows", String(rows), "cols", String(cols)]);
  }

  /** Its modes, as `stty -g` gives them. */
  get modes(): string {
    return execFileSync("stty", ["-F", this.#device, "-g"], { encoding: "utf8" }).trim();
  }

  wrote(what: string | RegExp): Promise<RegExpExecArray> {
    return this.#shown.wrote(what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Its end hangs the terminal up, and what runs there with it.
    if (!this.#over) this.#script.kill("SIGKILL");
    await this.closed;
  }
}
