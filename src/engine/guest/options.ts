import type { SandboxError } from "../../contract/errors.ts";
import type { Setup } from "./commands.ts";
import type { Wait } from "./deadline.ts";
import type { AgentLog } from "./guest-log.ts";

/** Why a connection ended: closed by its owner, gone with the VM, or closed because the guest broke the protocol. */
export interface CloseReason {
  by: "host" | "guest" | "violation";
  /** `unavailable`, for a violation `internal`: what everything that was pending rejects with. */
  error: SandboxError;
}

export interface OpenOptions extends Wait {
  /**
   * True when an earlier host may have been cut off in the middle of a frame: always after a restart of the
   * daemon. False right after loading a template, which is stored between two frames; it spares 256 KiB.
   */
  filler: boolean;
  /** Sent in the same write as the hello: one round trip less. `open` then waits for its reply too. */
  setup?: Setup | undefined;
  /** The agent's log, at most 64 messages a second. */
  onLog?: ((entry: AgentLog) => void) | undefined;
  /** The guest's kernel has killed so many processes, since the last call, because user processes had used up their memory. */
  onOutOfMemory?: ((kills: number) => void) | undefined;
  /** How long to wait for the hello, and for the setup. Default 10,000. */
  timeoutMs?: number | undefined;
}

export interface AdoptOptions {
  /** Offset up to which stdout is safe already: the length of its log. */
  stdoutFrom: number;
  stderrFrom: number;
  /** As in `start`. */
  windowBytes?: number | undefined;
}

export interface StartOptions extends Wait {
  /** Bytes of each output that may be under way or unacknowledged. Default 1 MiB, at most 16 MiB. */
  windowBytes?: number | undefined;
}
