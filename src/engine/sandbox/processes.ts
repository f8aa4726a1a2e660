import {
  type ExecSpec,
  type ExitStatus,
  type OutputFrom,
  type ProcessInfo,
  type ProcessStart,
  SandboxError,
  type SignalScope,
} from "../../contract/index.ts";
import type { AttachedProcess, OperationContext, SandboxProcesses } from "../engine.ts";
import { followOutput } from "./follow-output.ts";
import type { SandboxLog } from "./log.ts";
import type { SandboxProcess, SandboxProcessOptions } from "./process.ts";
import { type ProcessRecord, ProcessRecords, toProcessInfo } from "./process-records.ts";

/** Of a command's arguments, for display. */
const MAX_SHOWN_ARGV = 4096;

/** What a sandbox does for its processes. */
export interface ProcessHost {
  name: string;
  directory: string;
  log: SandboxLog;
  launch(spec: ExecSpec, context: OperationContext & { stdin: boolean }): Promise<SandboxProcess>;
  /** Somebody works in it; until what is returned is called. */
  busy(): () => void;
}

export interface Begin {
  number: number;
  spec: ExecSpec;
  main: boolean;
  /** It is written down before it is started: a daemon that dies right after knows of it. */
  background: boolean;
}

/** The processes of one sandbox, running and ended; see {@link SandboxProcesses}. */
export class Processes implements SandboxProcesses {
  private readonly host: ProcessHost;
  private loaded: ProcessRecords | undefined;
  private readonly live = new Map<number, SandboxProcess>();
  private readonly ends = new Map<number, PromiseWithResolvers<void>>();

  constructor(host: ProcessHost) {
    this.host = host;
  }

  async start(spec: ProcessStart, context: OperationContext = {}): Promise<ProcessInfo> {
    const { stdin, ...exec } = spec;
    const process = await this.host.launch(exec, { ...context, stdin });
    process.detach();
    return this.get(process.process);
  }

  list(): ProcessInfo[] {
    return [...this.records.byNumber.values()].map(toProcessInfo).sort((a, b) => a.process - b.process);
  }

  get(process: number): ProcessInfo {
    return toProcessInfo(this.find(process));
  }

  async wait(process: number, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<ProcessInfo> {
    if (this.find(process).state === "running") await abortable(this.endOf(process), signal);
    return this.get(process);
  }

  signal(process: number, signal: string, scope: SignalScope): void {
    this.running(process).signalTo(scope, signal);
  }

  attach(process: number, from: OutputFrom): AttachedProcess {
    const record = this.find(process);
    const offsets = from === "now" ? { ...(this.live.get(process)?.written ?? LAST) } : from;
    const { log } = this.host;
    return {
      info: toProcessInfo(record),
      from: offsets,
      output: (signal) =>
        followOutput(
          log,
          {
            process,
            from: offsets,
            isOver: () => this.records.byNumber.get(process)?.state !== "running",
            over: this.endOf(process),
          },
          signal,
        ),
      current: () => this.get(process),
      write: (chunk) => this.running(process).write(chunk),
      endStdin: () => this.running(process).endStdin(),
      signal: (signal) => this.running(process).signal(signal),
      resize: (rows, cols) => this.running(process).resize(rows, cols),
    };
  }

  // What follows is for the sandbox.

  /** Follows a process from its start to its end. */
  async begin(
    { number, spec, main, background }: Begin,
    start: (options: SandboxProcessOptions) => Promise<SandboxProcess>,
  ): Promise<SandboxProcess> {
    const record: ProcessRecord = {
      process: number,
      pid: 0,
      argv: shown(spec.argv),
      tty: spec.tty !== undefined,
      main,
      state: "running",
      startedAt: new Date().toISOString(),
      ...(spec.timeoutMs !== undefined && { timeoutMs: spec.timeoutMs }),
      ...(spec.killAfterMs !== undefined && { killAfterMs: spec.killAfterMs }),
    };
    this.records.put(record);
    const done = this.host.busy();
    try {
      if (background) await this.records.write();
      const { timeoutMs, killAfterMs } = spec;
      const process = await start({
        timeoutMs,
        killAfterMs,
        onEnd: (status, written) => this.ended(number, status, written),
      });
      record.pid = process.pid;
      this.live.set(number, process);
      process.exited.then(done, done);
      this.records.writeSoon();
      return process;
    } catch (error) {
      done();
      this.records.byNumber.delete(number);
      this.records.writeSoon();
      throw error;
    }
  }

  /**
   * Goes on with a process that was started by an earlier daemon, or over an earlier connection.
   * @param main of one that died before it had written down what it had started
   */
  adopt(
    number: number,
    main: boolean,
    take: (options: SandboxProcessOptions) => SandboxProcess,
  ): SandboxProcess {
    const known = this.records.byNumber.get(number);
    const record: ProcessRecord = known ?? {
      process: number,
      pid: 0,
      argv: [],
      tty: false,
      main,
      state: "running",
      startedAt: new Date().toISOString(),
    };
    const { timeoutMs, killAfterMs } = record;
    const process = take({
      detached: true,
      killAfterMs,
      ...(timeoutMs !== undefined && {
        timeoutMs: Math.max(1, Date.parse(record.startedAt) + timeoutMs - Date.now()),
      }),
      onEnd: (status, written) => this.ended(number, status, written),
    });
    record.pid = process.pid;
    this.records.put(record);
    const done = this.host.busy();
    process.exited.then(done, done);
    this.live.set(number, process);
    this.records.writeSoon();
    return process;
  }

  /** Those that run according to our records, but not among these, are gone. */
  onlyTheseRun(numbers: ReadonlySet<number>): void {
    for (const [number, record] of this.records.byNumber) {
      if (record.state !== "running" || numbers.has(number)) continue;
      this.live.delete(number);
      this.records.put({ ...record, state: "lost", endedAt: new Date().toISOString() });
      this.settle(number);
      this.records.writeSoon();
    }
  }

  /** Writes down what is left to be, or, with its sandbox gone, nothing. */
  async close({ gone = false }: { gone?: boolean } = {}): Promise<void> {
    await this.loaded?.close(gone);
  }

  private get records(): ProcessRecords {
    this.loaded ??= new ProcessRecords(this.host.directory);
    return this.loaded;
  }

  private async ended(number: number, exit: ExitStatus, written: boolean): Promise<void> {
    const record = this.records.byNumber.get(number);
    this.live.delete(number);
    if (record === undefined) return;
    // Behind those that ended before: the oldest of them is forgotten first.
    this.records.byNumber.delete(number);
    this.records.put({ ...record, state: "ended", endedAt: new Date().toISOString(), exit });
    this.settle(number);
    if (written) await this.records.write();
    else this.records.writeSoon();
  }

  private settle(number: number): void {
    this.ends.get(number)?.resolve();
    this.ends.delete(number);
  }

  private endOf(number: number): Promise<void> {
    if (this.records.byNumber.get(number)?.state !== "running") return Promise.resolve();
    let end = this.ends.get(number);
    if (end === undefined) {
      end = Promise.withResolvers();
      this.ends.set(number, end);
    }
    return end.promise;
  }

  private find(process: number): ProcessRecord {
    const record = this.records.byNumber.get(process);
    if (record !== undefined) return record;
    throw new SandboxError("not_found", `sandbox '${this.host.name}' has no process ${process}`, {
      hint: `'msb ps ${this.host.name}' lists those that there are.`,
    });
  }

  private running(process: number): SandboxProcess {
    const { state } = this.find(process);
    const live = this.live.get(process);
    if (live !== undefined) return live;
    throw new SandboxError(
      "invalid_state",
      `process ${process} of sandbox '${this.host.name}' ${state === "running" ? "is being started" : `has ${state === "ended" ? "ended" : "gone with its VM"}`}`,
    );
  }
}

/** Behind everything that an ended process has written. */
const LAST = { stdout: Number.MAX_SAFE_INTEGER, stderr: Number.MAX_SAFE_INTEGER };

function shown(argv: readonly string[]): string[] {
  const list: string[] = [];
  let room = MAX_SHOWN_ARGV;
  for (const argument of argv) {
    if (argument.length > room) return [...list, `${argument.slice(0, room).toWellFormed()}…`];
    list.push(argument);
    room -= argument.length + 1;
    if (room <= 0) return [...list, "…"];
  }
  return list;
}

function abortable(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(new SandboxError("cancelled", "nobody waits for the process any more"));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    void promise.then(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    });
  });
}
