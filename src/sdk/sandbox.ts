import type { Readable } from "node:stream";
import { SandboxError } from "../contract/errors.ts";
import type {
  ExecRequest,
  ExecResultBody,
  LogRecord,
  SandboxInfo,
  SandboxMetrics,
} from "../contract/index.ts";
import { type Connection, sharedConnection } from "./connection.ts";
import { copyAll } from "./copies.ts";
import { ExecProcess } from "./exec-process.ts";
import { ExecResult } from "./exec-result.ts";
import { Files } from "./files.ts";
import { downloaded, type TarOptions } from "./image-transfer.ts";
import { type WatchMetricsOptions, watchMetrics } from "./metrics.ts";
import { Network } from "./network.ts";
import { type CallOptions, QUICK_MS, SLOW_MS, type SlowCallOptions } from "./options.ts";
import { Processes } from "./processes.ts";
import { RunProcess } from "./run-process.ts";
import { readLogs } from "./sandbox-logs.ts";
import type {
  CreateOptions,
  ExecOptions,
  ExecStreamOptions,
  ListOptions,
  LogsOptions,
  RunOptions,
} from "./sandbox-options.ts";
import type { ForkOptions, Snapshot, SnapshotCreateOptions } from "./snapshot.ts";

/**
 * A sandbox: a microVM with an image's files, its own kernel and nothing else.
 *
 * @example
 * await using sandbox = await Sandbox.create({ image: "msb/python" });
 * const { stdout, exitCode } = await sandbox.exec("python3", ["-c", "print(6 * 7)"]);
 */
export class Sandbox implements AsyncDisposable {
  /** What it has on its file system: read, write, list, change. It has to run. */
  readonly files: Files;
  readonly #connection: Connection;
  #info: SandboxInfo;

  private constructor(connection: Connection, info: SandboxInfo) {
    this.#connection = connection;
    this.#info = info;
    this.files = new Files(connection, this.#path("/files"));
  }

  /**
   * Creates a sandbox and starts it; it runs when the promise resolves.
   * Deadline: 15 minutes, because the first sandbox of a shape has its template built.
   *
   * @throws SandboxError `not_found` (image), `already_exists` (name), `invalid_argument`, `resource_exhausted`, …
   */
  static async create(options: CreateOptions): Promise<Sandbox> {
    const {
      connection = sharedConnection(),
      signal,
      deadlineMs = SLOW_MS,
      onProgress,
      copies = [],
      ...body
    } = options;
    const held = copies.length > 0 && body.command !== undefined;
    const info = await connection.json<SandboxInfo>({
      method: "POST",
      path: "/v1/sandboxes",
      query: { held: held || undefined },
      body,
      signal,
      deadlineMs,
      onProgress,
      purpose: "create a sandbox",
    });
    const sandbox = new Sandbox(connection, info);
    try {
      await copyAll(sandbox.files, copies, signal);
      if (held) await sandbox.#begin({ signal });
    } catch (error) {
      // One that lacks some of what it was to have is of no use. What went wrong first is what is told.
      await sandbox.remove({ force: true }).catch(() => {});
      throw error;
    }
    return sandbox;
  }

  /**
   * Creates a sandbox for one command and runs it, in one round trip. The sandbox is bound to this program: it is removed when the
   * command ends or the connection does, unless `keep` is set.
   *
   * @param argv the command; empty: the image's own
   */
  static run(options: RunOptions, argv: readonly string[] = []): RunProcess {
    const {
      connection = sharedConnection(),
      signal,
      onProgress,
      copies = [],
      keep = false,
      timeoutMs,
      killAfterMs,
      tty,
      rlimits,
      ...sandbox
    } = options;
    const exec = { ...(argv.length > 0 && { argv: [...argv] }), timeoutMs, killAfterMs, tty, rlimits };
    const held = copies.length > 0;
    const prepare = (info: SandboxInfo) => copyAll(new Sandbox(connection, info).files, copies, signal);
    return new RunProcess(
      connection,
      { type: "run", sandbox, exec, keep, held },
      { signal, onProgress, prepare: held ? prepare : undefined },
    );
  }

  /**
   * Gets a sandbox by its name or id.
   *
   * @throws SandboxError `not_found`
   */
  static async get(ref: string, options: CallOptions = {}): Promise<Sandbox> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const path = `/v1/sandboxes/${encodeURIComponent(ref)}`;
    const purpose = `get sandbox ${ref}`;
    return new Sandbox(
      connection,
      await connection.json<SandboxInfo>({ method: "GET", path, signal, deadlineMs, purpose }),
    );
  }

  /** Lists sandboxes, oldest first. */
  static async list(options: ListOptions = {}): Promise<Sandbox[]> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS, states, labels } = options;
    const { sandboxes } = await connection.json<{ sandboxes: SandboxInfo[] }>({
      method: "GET",
      path: "/v1/sandboxes",
      query: {
        state: states,
        label: labels && Object.entries(labels).map(([key, value]) => `${key}=${value}`),
      },
      signal,
      deadlineMs,
      purpose: "list sandboxes",
    });
    return sandboxes.map((info) => new Sandbox(connection, info));
  }

  /** A sandbox by name or id without asking whether it exists; the first call on it will tell. */
  static at(ref: string, options: { connection?: Connection | undefined } = {}): Sandbox {
    return new Sandbox(options.connection ?? sharedConnection(), { id: ref, name: ref } as SandboxInfo);
  }

  /** @internal a sandbox of what the daemon said of it */
  static of(info: SandboxInfo, options: { connection: Connection }): Sandbox {
    return new Sandbox(options.connection, info);
  }

  get id(): string {
    return this.#info.id;
  }

  get name(): string {
    return this.#info.name;
  }

  /** What was last heard of it, by any call on this object. {@link inspect} asks anew. */
  get info(): SandboxInfo {
    return this.#info;
  }

  /** Asks for its present state. */
  inspect(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#update("GET", "", "inspect", options, QUICK_MS);
  }

  /** Starts it again, with the disk it had. */
  start(options: SlowCallOptions = {}): Promise<SandboxInfo> {
    return this.#update("POST", "/start", "start", options, SLOW_MS);
  }

  /** Starts the command of one that was created held. */
  #begin(options: CallOptions): Promise<SandboxInfo> {
    return this.#update("POST", "/begin", "begin", options, QUICK_MS);
  }

  /** Has it stand still, with all that is in its memory. Whoever uses it has it go on; so does {@link resume}. */
  pause(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#update("POST", "/pause", "pause", options, QUICK_MS);
  }

  /**
   * Stores it on disk and ends its VM: it takes neither memory nor CPU time, and keeps its processes. Whoever uses it has it go on; so
   * does {@link resume}.
   */
  suspend(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#update("POST", "/suspend", "suspend", options, SLOW_MS);
  }

  /** Has it go on after a {@link pause} or {@link suspend}. */
  resume(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#update("POST", "/resume", "resume", options, QUICK_MS);
  }

  /**
   * Makes `count` (default 1) sandboxes that go on from where this one is, processes and all; it goes on too. Its connections and what
   * this program has attached to stay with it. After an error there is none of them. Deadline: 15 minutes.
   *
   * @example
   * const children = await sandbox.fork({ count: 5 });
   * @throws SandboxError `invalid_state` if it does not run, or may write to volumes and `volumes` is not `copy`
   */
  async fork(options: ForkOptions = {}): Promise<Sandbox[]> {
    const { fork } = await import("./snapshot.ts");
    return fork(this, this.#connection, options);
  }

  /** Stores its state under a name, and it goes on. See {@link Snapshot.create}. */
  async snapshot(options: SnapshotCreateOptions = {}): Promise<Snapshot> {
    const { Snapshot } = await import("./snapshot.ts");
    return Snapshot.create(this.id, { connection: this.#connection, ...options });
  }

  /** Stops it: TERM to all processes, KILL after `graceMs` (default 5,000 ms), then power off. */
  stop(options: CallOptions & { graceMs?: number | undefined } = {}): Promise<SandboxInfo> {
    const { graceMs = 5000 } = options;
    return this.#update("POST", "/stop", "stop", options, QUICK_MS + graceMs, { graceMs });
  }

  /** Ends its VM at once. */
  kill(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#update("POST", "/kill", "kill", options, QUICK_MS);
  }

  /** Removes it and its disk. A running one only with `force`, which kills it. */
  async remove(options: CallOptions & { force?: boolean | undefined } = {}): Promise<void> {
    const { signal, deadlineMs = QUICK_MS, force = false } = options;
    await this.#connection.json<void>({
      method: "DELETE",
      path: this.#path(""),
      query: { force },
      signal,
      deadlineMs,
      purpose: `remove sandbox ${this.name}`,
    });
  }

  /**
   * Runs a command, not through a shell, and collects its output: at most 16 MiB of each stream. An exit code other than 0 is no error.
   *
   * @throws SandboxError with `details.exitCode` 127 or 126 when the command is not there or cannot be run; `invalid_state`; …
   */
  async exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    const { signal, stdin, ...rest } = options;
    const body: ExecRequest = { argv: [command, ...args], ...defined(rest) };
    if (typeof stdin === "string") body.stdin = stdin;
    else if (stdin) body.stdinBase64 = Buffer.from(stdin).toString("base64");
    const result = await this.#connection.json<ExecResultBody>({
      method: "POST",
      path: this.#path("/exec"),
      body,
      signal,
      // Within the sandbox the command may take as long as it was allowed; the call ends somewhat later at the latest.
      deadlineMs:
        options.timeoutMs === undefined
          ? undefined
          : options.timeoutMs + (options.killAfterMs ?? 0) + QUICK_MS,
      purpose: `run ${command} in sandbox ${this.name}`,
    });
    return new ExecResult(result);
  }

  /** Runs a script with the sandbox's shell (`/bin/sh` unless it was created with another) and collects its output. */
  shell(script: string, options: ExecOptions = {}): Promise<ExecResult> {
    return this.exec(this.#info.spec?.shell ?? "/bin/sh", ["-c", script], options);
  }

  /** Starts a command with its streams connected to this program. Failures show in the iteration and in `exit`. */
  execStream(command: string, args: readonly string[] = [], options: ExecStreamOptions = {}): ExecProcess {
    const { signal, ...rest } = options;
    return new ExecProcess(
      this.#connection,
      this.#path("/exec"),
      { type: "exec", exec: { argv: [command, ...args], ...defined(rest) } },
      `run ${command} in sandbox ${this.name}`,
      signal,
    );
  }

  /** What it reaches, and what its network decided. */
  get network(): Network {
    return new Network(this.#connection, this.#path(""));
  }

  /** Its processes that go on without this program. */
  get processes(): Processes {
    return new Processes(this.#connection, this.#path(""));
  }

  /** What its processes wrote, oldest first. */
  logs(options: LogsOptions = {}): AsyncGenerator<LogRecord> {
    return readLogs(this.#connection, this.#path("/logs"), this.name, options);
  }

  /** What it uses now: CPU, memory, disk, network, processes and pressure; and what it costs the host. It has to run. */
  async metrics(options: CallOptions = {}): Promise<SandboxMetrics> {
    const { signal, deadlineMs = QUICK_MS } = options;
    const purpose = `measure sandbox ${this.name}`;
    return this.#connection.json({
      method: "GET",
      path: this.#path("/metrics"),
      signal,
      deadlineMs,
      purpose,
    });
  }

  /** The same again and again, until it stops or the iteration does. */
  watchMetrics(options: WatchMetricsOptions = {}): AsyncGenerator<SandboxMetrics> {
    return watchMetrics(this.#connection, this.#path("/metrics/watch"), this.name, options);
  }

  /** The last bytes (default 65,536) of the VM's console: what its kernel said. */
  async console(options: CallOptions & { maxBytes?: number | undefined } = {}): Promise<string> {
    const { signal, deadlineMs = QUICK_MS, maxBytes } = options;
    const { console } = await this.#connection.json<{ console: string }>({
      method: "GET",
      path: this.#path("/console"),
      query: { maxBytes },
      signal,
      deadlineMs,
      purpose: `read the console of sandbox ${this.name}`,
    });
    return console;
  }

  /**
   * Its file system as one tar: its image with what it has written on top. To the file `to`, which is there once it is whole, or as a
   * stream. It has to run. Deadline: none.
   */
  export(options: TarOptions & { to: string }): Promise<void>;
  export(options?: TarOptions & { to?: undefined }): Promise<Readable>;
  export(options: TarOptions = {}): Promise<unknown> {
    const purpose = `export sandbox ${this.name}`;
    return downloaded(this.#path("/export"), {}, purpose, { connection: this.#connection, ...options });
  }

  /** Removes it, running or not. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.remove({ force: true });
    } catch (error) {
      if (!(error instanceof SandboxError) || error.code !== "not_found") throw error;
    }
  }

  toJSON(): SandboxInfo {
    return this.#info;
  }

  #path(rest: string): string {
    return `/v1/sandboxes/${encodeURIComponent(this.#info.id)}${rest}`;
  }

  async #update(
    method: "GET" | "POST",
    rest: string,
    verb: string,
    { signal, deadlineMs, onProgress }: SlowCallOptions,
    defaultDeadlineMs: number,
    query?: Record<string, number>,
  ): Promise<SandboxInfo> {
    this.#info = await this.#connection.json<SandboxInfo>({
      method,
      path: this.#path(rest),
      query,
      signal,
      deadlineMs: deadlineMs ?? defaultDeadlineMs,
      onProgress,
      purpose: `${verb} sandbox ${this.name}`,
    });
    return this.#info;
  }
}

/** Without the fields that are undefined: JSON has none, and the types of the contract say so too. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
