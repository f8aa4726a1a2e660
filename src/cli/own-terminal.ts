import { execFileSync } from "node:child_process";
import { SandboxError } from "../contract/errors.ts";
import type { ExecProcess, TerminalInput } from "../sdk/index.ts";
import { DEFAULT_DETACH_KEYS, DetachKeys } from "./detach-keys.ts";
import { note } from "./terminal.ts";

/**
 * The terminal that msb was started in, lent to a process of a sandbox. Every key goes there as it is (raw mode), and the terminal is
 * given back as it was whichever way msb ends.
 */
export class OwnTerminal {
  /** It was left by the keys for that; the process runs on. */
  left = false;
  readonly #keys: DetachKeys;
  readonly #restore = () => this.restore();
  readonly #onResize = () => this.#resize();
  readonly #onContinue = () => {
    // A shell that took the terminal back while we were stopped has set its own modes.
    makeRaw();
    this.#resize();
  };
  #process: ExecProcess | undefined;
  #modes: string | undefined;

  constructor(detachKeys: Buffer) {
    this.#keys = new DetachKeys(detachKeys);
  }

  /** What the process is to be given. */
  get spec(): TerminalInput {
    const { TERM } = process.env;
    return { ...size(), ...(TERM && { term: TERM }) };
  }

  /** From here on the keys are the process's. */
  connect(process_: ExecProcess): void {
    this.#process = process_;
    process.once("exit", this.#restore);
    process.on("SIGWINCH", this.#onResize);
    process.on("SIGCONT", this.#onContinue);
    this.#modes = stty("-g");
    makeRaw();
    // It may have changed while the process was being started.
    this.#resize();
    this.#feed(process_).catch((error: Error) => {
      if (!this.left) note(`msb: cannot read the terminal: ${error.message}\r`);
    });
  }

  restore(): void {
    if (this.#process === undefined) return;
    this.#process = undefined;
    process.off("exit", this.#restore);
    process.off("SIGWINCH", this.#onResize);
    process.off("SIGCONT", this.#onContinue);
    if (this.#modes === undefined || stty(this.#modes) === undefined) process.stdin.setRawMode(false);
  }

  async #feed(process_: ExecProcess): Promise<void> {
    for await (const chunk of process.stdin) {
      const { data, detach } = this.#keys.take(chunk as Buffer);
      if (data.length > 0) await process_.stdin.write(data);
      if (!detach) continue;
      this.left = true;
      await process_.detach();
      return;
    }
  }

  #resize(): void {
    const { rows, cols } = size();
    this.#process?.resize(rows, cols);
  }
}

/**
 * Node's raw mode goes on turning each line feed into a return and a line feed, which spoils what a full-screen program draws:
 * stty(1) makes the terminal raw in both directions.
 */
function makeRaw(): void {
  if (stty("raw", "-echo") === undefined) process.stdin.setRawMode(true);
}

/** What stty says of the terminal that stdin is; nothing where there is no stty. */
function stty(...args: string[]): string | undefined {
  try {
    return execFileSync("stty", args, { stdio: ["inherit", "pipe", "ignore"], encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}

/**
 * This terminal for `-t`, or nothing without it.
 *
 * @throws `invalid_argument` if there is none
 */
export function ownTerminal(flags: {
  tty?: boolean | undefined;
  detachKeys?: Buffer | undefined;
}): OwnTerminal | undefined {
  if (!flags.tty) return undefined;
  if (!process.stdin.isTTY) {
    throw new SandboxError("invalid_argument", "-t needs a terminal, and stdin is none", {
      hint: "leave out -t; stdin, stdout and stderr are connected anyway",
    });
  }
  return new OwnTerminal(flags.detachKeys ?? DEFAULT_DETACH_KEYS);
}

/** Some terminals, serial lines for one, do not know how large they are. */
function size(): { rows: number; cols: number } {
  const stream = [process.stdout, process.stderr].find(({ isTTY }) => isTTY);
  const [cols, rows] = stream?.getWindowSize() ?? [];
  return { rows: within(rows, 24), cols: within(cols, 80) };
}

function within(value: number | undefined, otherwise: number): number {
  return value === undefined || value < 1 ? otherwise : Math.min(value, 4096);
}
