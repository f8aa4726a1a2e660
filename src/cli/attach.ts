import { constants } from "node:os";
import type { ExecProcess, ExitStatus } from "../sdk/index.ts";
import type { OwnTerminal } from "./own-terminal.ts";
import { note, writeTo } from "./terminal.ts";

/** Connects a process in a sandbox to this one: its streams, its signals, its exit code. */

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
type Forwarded = (typeof FORWARDED)[number];

/** Three Ctrl-C, each within a second of the one before, end us whatever the process makes of them. */
const FORCE_COUNT = 3;
const FORCE_WITHIN_MS = 1000;

/** What `timeout(1)` exits with when the time is up. */
const TIMED_OUT = 124;

export interface AttachHow {
  /** The terminal that the process was given. */
  terminal?: OwnTerminal | undefined;
  /** It is not ours and goes on without us: what is sent to us means us. Default: false. */
  foreign?: boolean;
  /** Give it our stdin. Default: true. */
  stdin?: boolean | undefined;
}

/**
 * @param cancel ends the whole operation: for signals before there is a process, and for force
 * @returns the exit code for this process; 0 when it was left running
 */
export async function attach(
  process_: ExecProcess,
  cancel: () => void,
  { terminal, foreign = false, stdin = true }: AttachHow = {},
): Promise<number> {
  const signals = new SignalForwarding(process_, cancel, foreign || terminal !== undefined);
  process_.started.then(
    () => {
      if (terminal !== undefined) terminal.connect(process_);
      else if (stdin) feedStdin(process_);
    },
    () => {},
  );
  try {
    for await (const event of process_) {
      if (event.type === "exit") {
        if (event.stopReason !== undefined) note(`msb: the sandbox was stopped: ${event.stopReason}`);
        return exitCode(event);
      }
      if (event.type === "lost") {
        note(`msb: ${event.bytes} bytes of ${event.stream} are kept no more`);
        continue;
      }
      const full = writeTo(event.stream, event.data);
      if (full) await full;
    }
    if (terminal?.left) return 0;
    throw new Error("the output ended without an exit status");
  } catch (error) {
    if (signals.cancelledBy !== undefined) return 128 + constants.signals[signals.cancelledBy];
    throw error;
  } finally {
    signals[Symbol.dispose]();
    terminal?.restore();
  }
}

function exitCode(status: ExitStatus): number {
  return status.timedOut ? TIMED_OUT : status.exitCode & 0xff;
}

function feedStdin(process_: ExecProcess): void {
  process_.pipeFrom(process.stdin).catch((error: NodeJS.ErrnoException) => {
    // E.g. a folder as stdin. The command goes on without; it may not need it.
    note(`msb: cannot read stdin: ${error.message}`);
    process_.stdin.end();
  });
}

class SignalForwarding implements Disposable {
  /** The signal that ended the operation instead of reaching the process. */
  cancelledBy: Forwarded | undefined;
  readonly #process: ExecProcess;
  readonly #cancel: () => void;
  readonly #listener = (signal: NodeJS.Signals) => this.#on(signal as Forwarded);
  #started = false;
  #interrupts = 0;
  #lastInterrupt = 0;

  /** @param ours what is sent to us means us: a process at a terminal gets its own signals as keys */
  constructor(process_: ExecProcess, cancel: () => void, ours: boolean) {
    this.#process = process_;
    this.#cancel = cancel;
    if (!ours) {
      process_.started.then(
        () => {
          this.#started = true;
        },
        () => {},
      );
    }
    for (const signal of FORWARDED) process.on(signal, this.#listener);
  }

  #on(signal: Forwarded): void {
    const forced = signal === "SIGINT" && this.#countInterrupt();
    if (this.#started && !forced) {
      this.#process.kill(signal);
      return;
    }
    // USR1 and USR2 would end a program that is not ready for them, here as anywhere.
    this.cancelledBy = signal;
    this.#cancel();
  }

  #countInterrupt(): boolean {
    const now = performance.now();
    this.#interrupts = now - this.#lastInterrupt < FORCE_WITHIN_MS ? this.#interrupts + 1 : 1;
    this.#lastInterrupt = now;
    if (this.#interrupts === FORCE_COUNT - 1) note("msb: the command has not ended; Ctrl-C again forces it");
    return this.#interrupts >= FORCE_COUNT;
  }

  [Symbol.dispose](): void {
    for (const signal of FORWARDED) process.off(signal, this.#listener);
  }
}
