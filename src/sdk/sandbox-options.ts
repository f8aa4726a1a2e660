import type {
  ExecRequest,
  LogRecord,
  Progress,
  SandboxSpecInput,
  SandboxState,
  TerminalInput,
} from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import type { Copy } from "./copies.ts";
import type { CallOptions, SlowCallOptions } from "./options.ts";

/** What the calls of a sandbox take. */

/** A sandbox's spec, what it is to have of this machine, and how to make the call. */
export type CreateOptions = SandboxSpecInput & SlowCallOptions & { copies?: readonly Copy[] | undefined };

/** Where and how a process runs. */
export interface ExecStreamOptions {
  /** Added to the sandbox's environment. */
  env?: Record<string, string> | undefined;
  /** Absolute path in the sandbox. Default: the sandbox's. */
  workdir?: string | undefined;
  /** `name`, `uid`, `name:group` or `uid:gid`. Default: the sandbox's. */
  user?: string | undefined;
  /** TERM to the process group after so many milliseconds, KILL `killAfterMs` later. Default: none. */
  timeoutMs?: number | undefined;
  /** Between TERM and KILL. Default: 2,000. */
  killAfterMs?: number | undefined;
  /** A terminal in place of pipes: what it shows comes as stdout. */
  tty?: TerminalInput | undefined;
  rlimits?: ExecRequest["rlimits"];
  /** Ends the process, and rejects with code `cancelled`. */
  signal?: AbortSignal | undefined;
}

export interface ExecOptions extends ExecStreamOptions {
  /** All of stdin. Default: empty. */
  stdin?: string | Uint8Array | undefined;
}

/** A sandbox for one command. */
export interface RunOptions extends SandboxSpecInput, Omit<ExecStreamOptions, "env" | "workdir" | "user"> {
  /** Files and folders of this machine that are there before the command. */
  copies?: readonly Copy[] | undefined;
  /** Keep the sandbox, running, when the command has ended. Default: false. */
  keep?: boolean | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  connection?: Connection | undefined;
}

export interface ListOptions extends CallOptions {
  /** Only sandboxes in one of these states. */
  states?: SandboxState[] | undefined;
  /** Only sandboxes with all of these labels. */
  labels?: Record<string, string> | undefined;
}

export interface LogsOptions extends CallOptions {
  /** Go on as more is written, until the sandbox is removed. Default: false. */
  follow?: boolean | undefined;
  /** Only the last so many records. */
  tail?: number | undefined;
  /** Only what was written from then on; a date, or ISO 8601. */
  since?: Date | string | undefined;
  /** Only what was written up to then. */
  until?: Date | string | undefined;
  /** Only of these processes, by their number within the sandbox. */
  processes?: number[] | undefined;
  /** Only of these streams; `system` is what microsandbox itself has to say. */
  streams?: LogRecord["stream"][] | undefined;
  /** Only lines that contain this text, each as a record of its own. It is no pattern. */
  grep?: string | undefined;
}
