import type { OutputFrom, ProcessInfo, ProcessSignalInput, ProcessStartInput } from "../contract/index.ts";
import { AttachedProcess } from "./attached-process.ts";
import type { Connection } from "./connection.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

/** Where and how a process runs that goes on without this program. */
export interface ProcessStartOptions
  extends Omit<ProcessStartInput, "argv">,
    Pick<CallOptions, "signal" | "deadlineMs"> {}

export interface AttachOptions {
  /**
   * From where on its output is wanted: offsets in bytes since its start, or `"now"` for what comes. Default: all that is kept.
   */
  from?: OutputFrom | undefined;
  /** Lets go of it; the process goes on. */
  signal?: AbortSignal | undefined;
}

type Call = Pick<CallOptions, "signal" | "deadlineMs">;

/** The processes of a sandbox: those that run, and the last 128 that have ended. */
export class Processes {
  readonly #connection: Connection;
  readonly #path: string;

  /** @internal */
  constructor(connection: Connection, sandboxPath: string) {
    this.#connection = connection;
    this.#path = `${sandboxPath}/processes`;
  }

  /** Starts a process that goes on when this program ends, and when the daemon does. Its output goes to the sandbox's log. */
  async start(
    command: string,
    args: readonly string[] = [],
    { signal, deadlineMs = QUICK_MS, ...spec }: ProcessStartOptions = {},
  ): Promise<SandboxProcess> {
    const info = await this.#connection.json<ProcessInfo>({
      method: "POST",
      path: this.#path,
      body: { argv: [command, ...args], ...spec },
      signal,
      deadlineMs,
      purpose: `start ${command}`,
    });
    return this.#of(info);
  }

  /** Oldest first. */
  async list({ signal, deadlineMs = QUICK_MS }: Call = {}): Promise<SandboxProcess[]> {
    const { processes } = await this.#connection.json<{ processes: ProcessInfo[] }>({
      method: "GET",
      path: this.#path,
      signal,
      deadlineMs,
      purpose: "list processes",
    });
    return processes.map((info) => this.#of(info));
  }

  /** @throws SandboxError `not_found` */
  async get(process: number, { signal, deadlineMs = QUICK_MS }: Call = {}): Promise<SandboxProcess> {
    const info = await this.#connection.json<ProcessInfo>({
      method: "GET",
      path: `${this.#path}/${process}`,
      signal,
      deadlineMs,
      purpose: `get process ${process}`,
    });
    return this.#of(info);
  }

  #of(info: ProcessInfo): SandboxProcess {
    return new SandboxProcess(this.#connection, `${this.#path}/${info.process}`, info);
  }
}

/** A process of a sandbox, to come back to. */
export class SandboxProcess {
  readonly #connection: Connection;
  readonly #path: string;
  #info: ProcessInfo;

  /** @internal */
  constructor(connection: Connection, path: string, info: ProcessInfo) {
    this.#connection = connection;
    this.#path = path;
    this.#info = info;
  }

  /** Its number within the sandbox. */
  get process(): number {
    return this.#info.process;
  }

  /** What was last heard of it. */
  get info(): ProcessInfo {
    return this.#info;
  }

  /** Asks for its present state. */
  async inspect({ signal, deadlineMs = QUICK_MS }: Call = {}): Promise<ProcessInfo> {
    return await this.#get("", { signal, deadlineMs }, "inspect");
  }

  /** Connects its streams to this program, beside whoever else has. */
  attach({ from, signal }: AttachOptions = {}): AttachedProcess {
    return new AttachedProcess(
      this.#connection,
      `${this.#path}/attach`,
      from,
      `attach to process ${this.process}`,
      signal,
    );
  }

  /** Waits until it has ended, or was lost with its VM. Deadline: none. */
  async wait({ signal, deadlineMs }: Call = {}): Promise<ProcessInfo> {
    return await this.#get("/wait", { signal, deadlineMs }, "wait for");
  }

  /**
   * Sends a signal: to the process group, or to the process alone, or to all that descends from it.
   *
   * @throws SandboxError `invalid_state` when it does not run
   */
  async signal(signal: string, options: Call & { scope?: ProcessSignalInput["scope"] } = {}): Promise<void> {
    const { scope, deadlineMs = QUICK_MS } = options;
    await this.#connection.json<void>({
      method: "POST",
      path: `${this.#path}/signal`,
      body: { signal, scope },
      signal: options.signal,
      deadlineMs,
      purpose: `signal process ${this.process}`,
    });
  }

  toJSON(): ProcessInfo {
    return this.#info;
  }

  async #get(rest: string, { signal, deadlineMs }: Call, verb: string): Promise<ProcessInfo> {
    this.#info = await this.#connection.json<ProcessInfo>({
      method: "GET",
      path: this.#path + rest,
      signal,
      deadlineMs,
      purpose: `${verb} process ${this.process}`,
    });
    return this.#info;
  }
}
