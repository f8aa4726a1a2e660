import { SandboxError } from "../../contract/errors.ts";
import { encodeCbor, MAX_ELEMENTS } from "./cbor.ts";
import { PROTOCOL_VERSION } from "./control.ts";
import { MAX_PAYLOAD } from "./frame.ts";

/**
 * The host's control messages as payloads. Source: spec/agent-protocol.md, "Control messages". What a caller gives
 * is checked here, so that no message leaves that the guest has to take for a violation: SandboxError
 * `invalid_argument` says what was wrong.
 */

/** Identity and devices that a guest takes on after boot or load. */
export interface Setup {
  identity: {
    /** 32 … 512 random bytes from the host, never used twice. */
    entropy: Uint8Array;
    /** Unix time in nanoseconds. */
    timeNs: bigint;
    hostname: string;
    /** 32 hex digits. */
    machineId: string;
  };
  /**
   * Which disk is the upper file system: `fresh`, the one that was mounted by `prepare` and stored with the template, or
   * `kept`, the one that an earlier run of this sandbox wrote.
   */
  upper: "fresh" | "kept";
  /** The upper file system is grown to this many bytes if it is smaller. */
  upperSizeBytes: number;
  /** Names and addresses for `/etc/hosts`. */
  hosts?: Record<string, string> | undefined;
  /** The network interface, where there is one. */
  network?: GuestNetwork | undefined;
}

/** What a guest is told of its network interface. Addresses are 4 or 16 bytes, MAC addresses 6; at most 16 of each kind. */
export interface GuestNetwork {
  /** Bytes of an IP packet, 1280 … 65535. */
  mtu: number;
  /** The guest's own; `prefix` in bits. */
  addresses: { address: Uint8Array; prefix: number }[];
  /** Default routes: at most one of each version. */
  gateways: Uint8Array[];
  /** Whom the guest need not ask for. */
  neighbours: { address: Uint8Array; mac: Uint8Array }[];
  /** Name servers. */
  dns: Uint8Array[];
}

export interface Rlimit {
  soft: number | bigint;
  hard: number | bigint;
}

/** An rlimit that limits nothing. */
export const RLIMIT_INFINITY = 2n ** 64n - 1n;

/** A process to start. */
export interface ProcessSpec {
  /** At least one; the first is looked up in `env.PATH` when it has no slash. */
  argv: readonly string[];
  /** Default empty; the guest adds `HOME` only. */
  env?: Record<string, string> | undefined;
  /** Absolute; default `/`. */
  cwd?: string | undefined;
  /** `name`, `uid`, `name:group` or `uid:gid`; default root. */
  user?: string | undefined;
  /** Default false: `/dev/null`. */
  stdin?: boolean | undefined;
  /** By name of `getrlimit(2)` in lower case without prefix, e.g. `nofile`. */
  rlimits?: Record<string, Rlimit | undefined> | undefined;
  /** Makes the working directory when it is missing. Default false. */
  createCwd?: boolean | undefined;
  /**
   * Something of the agent's own in place of a program, when the guest has the capability of that name: `changes` writes
   * what the sandbox has written, as the tar of a layer, to stdout; `files` answers requests; `archive` and `extract` move trees as tars; `watch` tells of changes. `argv` then names it.
   */
  builtin?: "archive" | "changes" | "extract" | "files" | "folder" | "watch" | undefined;
  /** A terminal instead of pipes, when the guest has the capability `pty`. */
  pty?: { rows: number; cols: number; term: string } | undefined;
}

export function encodeHello(host: string): Buffer {
  return encodeMessage({ op: "hello", version: PROTOCOL_VERSION, host });
}

export function encodeSetup(id: number, setup: Setup): Buffer {
  return encodeMessage({
    op: "setup",
    id,
    identity: encodeIdentity(setup.identity),
    root: { upper: setup.upper, upper_size: uint64(setup.upperSizeBytes, "upperSizeBytes") },
    hosts: setup.hosts,
    network: setup.network,
  });
}

export function encodeIdentity({ entropy, timeNs, hostname, machineId }: Setup["identity"]) {
  if (entropy.length < 32 || entropy.length > 512) {
    throw invalid(`entropy has 32 to 512 bytes, not ${entropy.length}`);
  }
  if (!/^[0-9a-f]{32}$/.test(machineId)) throw invalid("a machine id has 32 hex digits");
  return { entropy, time_ns: uint64(timeNs, "timeNs"), hostname: text(hostname), machine_id: machineId };
}

export function encodePrepare(id: number, network: GuestNetwork | undefined): Buffer {
  return encodeMessage({ op: "prepare", id, network });
}

/** A file system to be added to the root. `target`: absolute path in the sandbox. */
export type GuestMount =
  | { type: "tmpfs"; target: string; sizeBytes: number; mode: number }
  | {
      type: "volume";
      target: string;
      disk: string;
      sizeBytes: number;
      readOnly: boolean;
      dirSync: boolean;
    };

export function encodeMount(id: number, mount: GuestMount): Buffer {
  const base = {
    op: "mount",
    id,
    type: mount.type,
    target: text(mount.target),
    size: uint64(mount.sizeBytes, "sizeBytes"),
  };
  if (mount.type === "tmpfs") return encodeMessage({ ...base, mode: uint64(mount.mode, "mode") });
  return encodeMessage({
    ...base,
    disk: text(mount.disk),
    read_only: mount.readOnly,
    dir_sync: mount.dirSync,
  });
}

/** @param timeNs what the guest's wall clock is set to, if anything */
export function encodePing(id: number, timeNs?: bigint): Buffer {
  return encodeMessage({ op: "ping", id, ...(timeNs !== undefined && { set_time_ns: timeNs }) });
}

export function encodeStats(id: number): Buffer {
  return encodeMessage({ op: "stats", id });
}

export function encodeShutdown(id: number, graceMs: number): Buffer {
  return encodeMessage({ op: "shutdown", id, grace_ms: uint64(graceMs, "graceMs") });
}

export function encodeStart(spec: ProcessSpec): Buffer {
  const env = Object.entries(spec.env ?? {});
  const rlimits = Object.entries(spec.rlimits ?? {});
  if (spec.argv.length === 0) throw invalid("a command has at least a name");
  if (spec.argv.length + env.length + 5 * rlimits.length > MAX_ELEMENTS - 64) {
    throw invalid(
      `arguments and environment have ${spec.argv.length + env.length} entries, which is too many`,
    );
  }
  const cwd = text(spec.cwd ?? "");
  if (cwd !== "" && !cwd.startsWith("/")) throw invalid(`the working directory is not absolute: ${cwd}`);
  return encodeMessage({
    op: "start",
    argv: spec.argv.map(text),
    env: env.map(([name, value]) => {
      if (name === "" || name.includes("=")) throw invalid(`no name for a variable: ${JSON.stringify(name)}`);
      return text(`${name}=${value}`);
    }),
    cwd,
    user: text(spec.user ?? ""),
    stdin: spec.stdin ?? false,
    rlimits: spec.rlimits === undefined ? undefined : rlimits.flatMap(([name, limit]) => rlimit(name, limit)),
    create_cwd: spec.createCwd,
    builtin: spec.builtin,
    pty: spec.pty && {
      rows: uint64(spec.pty.rows, "rows"),
      cols: uint64(spec.pty.cols, "cols"),
      term: text(spec.pty.term),
    },
  });
}

function rlimit(name: string, limit: Rlimit | undefined) {
  if (limit === undefined) return [];
  return [
    {
      name: text(name),
      soft: uint64(limit.soft, `rlimit ${name}`),
      hard: uint64(limit.hard, `rlimit ${name}`),
    },
  ];
}

/** Whom a signal reaches: the process, its process group, or it and all its descendants, whatever groups they are in. */
export type SignalScope = "process" | "group" | "tree";

export function encodeSignal(signal: number, scope: SignalScope): Buffer {
  if (!Number.isInteger(signal) || signal < 1 || signal > 64) throw invalid(`there is no signal ${signal}`);
  // An agent that knows no trees takes the group.
  const tree = scope === "tree" ? { tree: true } : {};
  return encodeMessage({ op: "signal", signal, group: scope !== "process", ...tree });
}

export function encodeResize(rows: number, cols: number): Buffer {
  return encodeMessage({ op: "resize", rows: uint64(rows, "rows"), cols: uint64(cols, "cols") });
}

export function encodeClose(): Buffer {
  return encodeMessage({ op: "close" });
}

export function encodeMessage(message: Record<string, unknown>): Buffer {
  const payload = encodeCbor(message);
  if (payload.length <= MAX_PAYLOAD) return payload;
  throw invalid(`the message ${message.op} has ${payload.length} bytes; ${MAX_PAYLOAD} can be sent`);
}

function uint64(value: number | bigint, what: string): number | bigint {
  const whole = typeof value === "bigint" || Number.isSafeInteger(value);
  if (!whole || value < 0 || value > RLIMIT_INFINITY)
    throw invalid(`${what} is no unsigned integer: ${value}`);
  return value;
}

// A lone surrogate has no UTF-8: encoding would silently put another character there.
function text(value: string): string {
  if (!value.isWellFormed())
    throw invalid(`a text with a lone surrogate: ${JSON.stringify(value.slice(0, 80))}`);
  return value;
}

function invalid(what: string): SandboxError {
  return new SandboxError("invalid_argument", what);
}
