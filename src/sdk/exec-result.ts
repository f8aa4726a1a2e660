import type { ExecResultBody } from "../contract/index.ts";

/** How a command ended and what it wrote. */
export class ExecResult {
  /** 0 to 255; 128 + the signal's number when a signal ended it. */
  readonly exitCode: number;
  /** Name of the signal that ended it, as `SIGKILL`. */
  readonly signal: string | undefined;
  /** Whether `timeoutMs` ended it. */
  readonly timedOut: boolean;
  /** Whether the sandbox's kernel killed it, when processes had used up the sandbox's memory. */
  readonly outOfMemory: boolean;
  /** The first 16 MiB of stdout. */
  readonly stdoutBytes: Buffer;
  readonly stderrBytes: Buffer;
  /** Bytes beyond those 16 MiB. */
  readonly stdoutDropped: number;
  readonly stderrDropped: number;
  readonly durationMs: number;
  #stdout: string | undefined;
  #stderr: string | undefined;

  constructor(body: ExecResultBody) {
    this.exitCode = body.exitCode;
    this.signal = body.signal;
    this.timedOut = body.timedOut ?? false;
    this.outOfMemory = body.outOfMemory ?? false;
    this.stdoutBytes = Buffer.from(body.stdoutBase64, "base64");
    this.stderrBytes = Buffer.from(body.stderrBase64, "base64");
    this.stdoutDropped = body.stdoutDropped;
    this.stderrDropped = body.stderrDropped;
    this.durationMs = body.durationMs;
  }

  /** stdout as UTF-8 text. */
  get stdout(): string {
    this.#stdout ??= this.stdoutBytes.toString("utf8");
    return this.#stdout;
  }

  /** stderr as UTF-8 text. */
  get stderr(): string {
    this.#stderr ??= this.stderrBytes.toString("utf8");
    return this.#stderr;
  }

  toJSON(): object {
    const { exitCode, signal, timedOut, stdout, stderr, stdoutDropped, stderrDropped, durationMs } = this;
    return { exitCode, signal, timedOut, stdout, stderr, stdoutDropped, stderrDropped, durationMs };
  }
}
