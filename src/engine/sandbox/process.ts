import {
  DEFAULT_KILL_AFTER_MS,
  type ExitStatus,
  SandboxError,
  type SignalScope,
} from "../../contract/index.ts";
import type { EngineProcess } from "../engine.ts";
import type { GuestProcess, OutputName, ProcessExit } from "../guest/index.ts";
import type { SandboxLog } from "./log.ts";
import { outputRecord } from "./log-record.ts";
import { signalName, signalNumber } from "./signals.ts";

type Listener = (stream: OutputName, chunk: Buffer) => void | Promise<void>;

const TERM = 15;
const KILL = 9;

export interface SandboxProcessOptions {
  timeoutMs?: number | undefined;
  killAfterMs?: number | undefined;
  /** Nobody listens. */
  detached?: boolean;
  /** Takes down how it ended. With `written` the guest keeps that until it is on disk: nobody else would know. */
  onEnd?: ((status: ExitStatus, written: boolean) => Promise<void>) | undefined;
}

/**
 * A process of a sandbox, on its way between guest, log and listener. Its output is acknowledged to the guest once it is
 * in the log *and* the listener is done with it: the one makes it safe, the other is the back-pressure.
 */
export class SandboxProcess implements EngineProcess {
  readonly process: number;
  readonly exited: Promise<ExitStatus>;
  private readonly guest: GuestProcess;
  private readonly log: SandboxLog;
  private readonly onEnd: SandboxProcessOptions["onEnd"];
  /** Behind what has come of its output so far. */
  readonly written = { stdout: 0, stderr: 0 };
  private listener: Listener | undefined;
  private detached = false;
  /** When everything of it is killed, on `performance`'s clock; set once its time is up. */
  private killAtMs: number | undefined;
  private readonly timers: NodeJS.Timeout[] = [];
  /** Output that came before a listener did. */
  private readonly listening = Promise.withResolvers<void>();

  constructor(guest: GuestProcess, log: SandboxLog, options: SandboxProcessOptions = {}) {
    this.guest = guest;
    this.log = log;
    this.process = guest.channel;
    this.onEnd = options.onEnd;
    if (options.detached) this.detach();
    this.noteLoss();
    guest.onOutput((stream, offset, chunk) => this.take(stream, offset, chunk));
    if (options.timeoutMs !== undefined) this.limitTime(options.timeoutMs, options.killAfterMs);
    this.exited = guest.exited.then(
      (exit) => this.end(exit),
      (error) => {
        this.clearTimers();
        throw error;
      },
    );
    this.exited.catch(() => {});
  }

  get pid(): number {
    return this.guest.pid;
  }

  onOutput(listener: Listener): void {
    if (this.listener !== undefined) throw new SandboxError("internal", "a process has one listener");
    this.listener = listener;
    this.listening.resolve();
  }

  detach(): void {
    this.detached = true;
    this.listener = undefined;
    this.listening.resolve();
  }

  write(chunk: Buffer): Promise<void> {
    return this.guest.write(chunk);
  }

  endStdin(): void {
    this.guest.endStdin();
  }

  signal(signal: string): void {
    this.guest.signal(signalNumber(signal), "group");
  }

  resize(rows: number, cols: number): void {
    this.guest.resize(rows, cols);
  }

  signalTo(scope: SignalScope, signal: string): void {
    this.guest.signal(signalNumber(signal), scope);
  }

  private async take(stream: OutputName, offset: number, chunk: Buffer): Promise<void> {
    if (chunk.length === 0) return;
    this.written[stream] = offset + chunk.length;
    const logged = this.log.append(outputRecord(this.process, stream, offset, chunk));
    if (this.listener === undefined && !this.detached) await this.listening.promise;
    // The listener's trouble (a client that went away) is no reason to hold the process.
    await Promise.resolve(this.listener?.(stream, chunk)).catch(() => this.detach());
    // A full disk must not stop the process for ever either; the log then has a gap.
    await logged.catch(() => {});
    this.guest.ack(stream, offset + chunk.length);
  }

  private async end(exit: ProcessExit): Promise<ExitStatus> {
    this.clearTimers();
    const status = this.statusOf(exit);
    await this.onEnd?.(status, this.detached).catch(() => {});
    if (this.killAtMs === undefined) this.guest.release();
    else setTimeout(() => this.killRest(), Math.max(0, this.killAtMs - performance.now())).unref();
    return status;
  }

  private statusOf(exit: ProcessExit): ExitStatus {
    const timedOut = this.killAtMs === undefined ? {} : { timedOut: true };
    if ("code" in exit) return { exitCode: exit.code, ...timedOut };
    const outOfMemory = exit.oom ? { outOfMemory: true } : {};
    return { exitCode: 128 + exit.signal, signal: signalName(exit.signal), ...timedOut, ...outOfMemory };
  }

  private limitTime(timeoutMs: number, killAfterMs = DEFAULT_KILL_AFTER_MS): void {
    const after = (ms: number, signal: number) => {
      const timer = setTimeout(() => {
        this.killAtMs ??= performance.now() + killAfterMs;
        // Nothing of a process that has run out of its time may run on.
        this.guest.signal(signal, signal === KILL ? "tree" : "group");
      }, ms);
      this.timers.push(timer);
    };
    after(timeoutMs, TERM);
    after(timeoutMs + killAfterMs, KILL);
  }

  /** A process whose time was up may have ended by itself; its descendants have what is left of the grace. */
  private killRest(): void {
    this.guest.signal(KILL, "tree");
    this.guest.release();
  }

  private clearTimers(): void {
    for (const timer of this.timers) clearTimeout(timer);
  }

  /** What the guest had to drop while no daemon listened is told where its output would have been. */
  private noteLoss(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const lost = this.guest.lost[stream];
      if (lost === 0) continue;
      const text = `${lost} bytes of ${stream} were lost while no daemon ran\n`;
      void this.log
        .append({ time: new Date().toISOString(), process: this.process, stream: "system", text })
        .catch(() => {});
    }
  }
}
