import { SandboxError } from "../../contract/errors.ts";
import { Fields, uintOf, wordOf } from "./fields.ts";
import { MAX_CHANNEL } from "./frame.ts";
import { violation } from "./violation.ts";

/**
 * The guest's control messages, read field by field. Source: spec/agent-protocol.md, "Control messages". Every
 * reader throws SandboxError `internal` with a sentence on what was wrong.
 */

export const PROTOCOL_VERSION = 1;
/** Most processes that a guest may list: running ones and those not yet closed. */
export const MAX_PROCESSES = 1_024;

const MAX_PID = 2 ** 31 - 1;
/** More processes than any guest has. */
const MAX_KILLS = 2 ** 31 - 1;
const PROSE = 4_096;

/** How a process ended: by its own exit code, or by a signal's number. */
export type ProcessExit = { code: number } | { signal: number; oom?: true };

/** One end and the other of what the guest still holds of an output, in bytes since the process's start. */
export interface HeldOutput {
  start: number;
  end: number;
}

/** A process that ran before this connection, as the guest's hello lists it. */
export interface ListedProcess {
  channel: number;
  pid: number;
  /** Bytes of stdin that the guest took; what was sent beyond is lost. */
  stdinReceived: number;
  stdout: HeldOutput;
  stderr: HeldOutput;
  /** Set when the process has ended; its output may still be held. */
  exit?: ProcessExit;
}

/** What the guest says of itself. All texts are the guest's: show them, do not trust them. */
export interface AgentInfo {
  /** The agent's version. */
  agent: string;
  capabilities: string[];
  /** `ready` before setup, `running` after it. */
  phase: "ready" | "running";
  /** Random per boot of the guest's kernel. */
  boot: string;
  /** Whether its processes stand still: an earlier host stored its state, or it was loaded from one. */
  frozen: boolean;
  processes: ListedProcess[];
}

/** @throws SandboxError `unsupported` when the guest speaks no version of the protocol that we do */
export function readHello(payload: Buffer): AgentInfo {
  const message = Fields.ofMessage(payload, "hello");
  if (message.word("op", 32) !== "hello") throw violation("its first message is no hello");
  const agent = message.word("agent", 256);
  if (message.uint("version", PROTOCOL_VERSION) !== PROTOCOL_VERSION) {
    throw new SandboxError(
      "unsupported",
      `the guest's agent ${agent} speaks no protocol version that we do`,
      {
        hint: "its template was made by another version: remove it, and it is made anew",
      },
    );
  }
  const phase = message.word("phase", 32);
  if (phase !== "ready" && phase !== "running") throw violation("hello, phase: neither ready nor running");
  const processes = message.list("processes", MAX_PROCESSES).map((value) => readListed(value));
  if (new Set(processes.map((process) => process.channel)).size < processes.length) {
    throw violation("hello, processes: a channel stands there twice");
  }
  const capabilities = message
    .list("capabilities", 64)
    .map((value) => wordOf(value, 64, "hello, capabilities"));
  const frozen = message.has("frozen") && message.bool("frozen");
  return { agent, capabilities, phase, boot: message.word("boot", 128), frozen, processes };
}

function readListed(value: Parameters<typeof uintOf>[0]): ListedProcess {
  const listed = new Fields(value, "hello, process");
  const channel = listed.uint("channel", MAX_CHANNEL);
  if (channel === 0) throw violation("hello, process: channel 0 is no process");
  return {
    channel,
    pid: readPid(listed),
    stdinReceived: listed.uint("stdin"),
    stdout: readHeld(listed, "stdout"),
    stderr: readHeld(listed, "stderr"),
    ...(listed.has("exit") ? { exit: readExit(listed.fields("exit")) } : {}),
  };
}

function readPid(fields: Fields): number {
  const pid = fields.uint("pid", MAX_PID);
  if (pid === 0) throw violation("pid: there is no process 0");
  return pid;
}

function readHeld(listed: Fields, key: "stdout" | "stderr"): HeldOutput {
  const pair = listed.list(key, 2).map((v) => uintOf(v, Number.MAX_SAFE_INTEGER, `hello, process, ${key}`));
  const [start, end] = pair;
  if (start === undefined || end === undefined || start > end) {
    throw violation(`hello, process, ${key}: not [start, end]`);
  }
  return { start, end };
}

function readExit(fields: Fields): ProcessExit {
  if (fields.has("signal")) {
    const signal = fields.uint("signal", 64);
    if (signal === 0) throw violation("exit, signal: there is no signal 0");
    return fields.has("oom") ? { signal, oom: fields.true("oom") } : { signal };
  }
  return { code: fields.uint("code", 255) };
}

/** A message on channel 0 after the hello. */
export type ConnectionMessage =
  | { op: "log"; level: LogLevel; message: string }
  | { op: "oom"; kills: number }
  | { op: "reply"; id: number; error: SandboxError }
  | { op: "reply"; id: number; result: Fields };

export type LogLevel = "info" | "warn" | "error";

export function readConnectionMessage(payload: Buffer): ConnectionMessage {
  const message = Fields.ofMessage(payload, "message");
  const op = message.word("op", 32);
  if (op === "log") {
    const level = message.word("level", 32);
    if (level !== "info" && level !== "warn" && level !== "error")
      throw violation("log, level: no such level");
    return { op, level, message: message.prose("message", PROSE) };
  }
  if (op === "oom") return { op, kills: message.uint("kills", MAX_KILLS) };
  if (op === "reply") {
    const id = message.uint("id");
    if (message.has("error")) return { op, id, error: readError(message.fields("error")) };
    return { op, id, result: message };
  }
  throw violation("an unknown message on channel 0");
}

/** A message on a process's channel. */
export type ProcessMessage =
  | { op: "started"; pid: number }
  | { op: "failed"; error: SandboxError }
  | { op: "exit"; exit: ProcessExit };

export function readProcessMessage(payload: Buffer): ProcessMessage {
  const message = Fields.ofMessage(payload, "message");
  const op = message.word("op", 32);
  if (op === "started") return { op, pid: readPid(message) };
  if (op === "exit") return { op, exit: readExit(message) };
  if (op === "failed") {
    const exitCode = message.uint("exit_code", 127);
    if (exitCode < 126) throw violation("failed, exit_code: neither 126 nor 127");
    return { op, error: readError(message.fields("error"), { exitCode }) };
  }
  throw violation("an unknown message on a process's channel");
}

/** An error as the guest tells it. */
export function readError(error: Fields, details?: Record<string, unknown>): SandboxError {
  const { code, message, hint } = SandboxError.fromBody({
    code: error.word("code", 64) as SandboxError["code"],
    message: error.prose("message", PROSE),
    hint: error.has("hint") ? error.prose("hint", PROSE) : undefined,
  });
  return new SandboxError(code, message, { hint, details });
}

export interface SetupResult {
  /** The guest's clock, nanoseconds of Unix time. */
  timeNs: bigint;
  /** Microseconds that each step took; the guest names the steps. */
  timings: Record<string, number>;
}

export function readSetupResult(result: Fields): SetupResult {
  // Two sandboxes of one template share their generator's state until this: without it nothing may run.
  result.true("reseeded");
  const timings = result.fields("timings");
  return {
    timeNs: result.uint64("time_ns"),
    timings: Object.fromEntries(timings.keys(64).map((key) => [key, timings.uint(key)])),
  };
}

export interface PingResult {
  timeNs: bigint;
  uptimeMs: number;
  processes: number;
}

export function readPingResult(result: Fields): PingResult {
  return {
    timeNs: result.uint64("time_ns"),
    uptimeMs: result.uint("uptime_ms"),
    processes: result.uint("processes"),
  };
}

export interface ShutdownResult {
  /** Processes that did not end within the grace and were killed. */
  killed: number;
}

export function readShutdownResult(result: Fields): ShutdownResult {
  return { killed: result.uint("killed") };
}
