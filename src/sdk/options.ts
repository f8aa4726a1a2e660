import type { Progress } from "../contract/index.ts";
import type { Connection } from "./connection.ts";

/** What every call takes. */
export interface CallOptions {
  /** Connection to the daemon. Default: one for the whole program, to the daemon of `$MSB_HOME`. */
  connection?: Connection | undefined;
  /** Cancels the call; it rejects with code `cancelled`. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that the call may take; then it rejects with code `timeout`. The default stands at the call. */
  deadlineMs?: number | undefined;
}

/** What calls take that may have to build something first. */
export interface SlowCallOptions extends CallOptions {
  /** Hears of what takes long: a template being built, an image being read. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Deadline of calls that look something up, in milliseconds. */
export const QUICK_MS = 60_000;
/** Deadline of calls that may have to build a template, in milliseconds. */
export const SLOW_MS = 15 * 60_000;
