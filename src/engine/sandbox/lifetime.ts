import type { OnIdle } from "../../contract/index.ts";

/** The longest that a timer of Node can be set to; longer times are waited for in pieces. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface LifetimeLimits {
  maxDurationMs?: number | undefined;
  idleTimeoutMs?: number | undefined;
  /** Whether it may go on after it was idle. */
  onIdle: OnIdle;
}

/** Why a sandbox's time is up. */
export interface Expiry {
  limit: "max-duration" | "idle-timeout";
  reason: string;
}

/**
 * How long a sandbox may run. Times are the wall clock's, so that they hold over a restart of the daemon. It is idle while
 * nothing has begun that has not ended: processes that clients started, and what else they have the sandbox do.
 */
export class Lifetime {
  private readonly limits: LifetimeLimits;
  private readonly onExpiry: (expiry: Expiry) => void;
  private readonly onIdle: (since: string) => void;
  private startedMs: number | undefined;
  private idleSinceMs: number | undefined;
  private active = 0;
  private timer: NodeJS.Timeout | undefined;

  /** @param onIdle hears when it has become idle, to keep it for the next daemon; only where there is a limit */
  constructor(limits: LifetimeLimits, onExpiry: (expiry: Expiry) => void, onIdle: (since: string) => void) {
    this.limits = limits;
    this.onExpiry = onExpiry;
    this.onIdle = onIdle;
  }

  /** It runs, since `startedAt`; and is idle since `idleSince`, if an earlier daemon knew. */
  start(startedAt: string, idleSince?: string): void {
    this.startedMs = Date.parse(startedAt);
    // What was done with it in this daemon's time came later than what an earlier one knew.
    if (this.active === 0) this.idleSinceMs ??= idleSince === undefined ? Date.now() : Date.parse(idleSince);
    this.arm();
  }

  /** Whether nothing is done with it. */
  get idle(): boolean {
    return this.active === 0;
  }

  /** Something is done with it. @returns what to call when it has ended; calling it again does nothing */
  begin(): () => void {
    this.active++;
    if (this.active === 1) this.setIdle(undefined);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.active--;
      if (this.active === 0) this.setIdle(Date.now());
    };
  }

  /** It stands still, which is not to be idle; its longest time goes on. */
  rest(): void {
    this.idleSinceMs = undefined;
    this.arm();
  }

  /** It goes on after that. */
  goOn(): void {
    if (this.active === 0) this.setIdle(Date.now());
  }

  /** It does not run any more. */
  end(): void {
    this.startedMs = undefined;
    this.idleSinceMs = undefined;
    clearTimeout(this.timer);
  }

  private setIdle(sinceMs: number | undefined): void {
    this.idleSinceMs = sinceMs;
    if (this.startedMs === undefined || this.limits.idleTimeoutMs === undefined) return;
    if (sinceMs !== undefined) this.onIdle(new Date(sinceMs).toISOString());
    this.arm();
  }

  private arm(): void {
    clearTimeout(this.timer);
    if (this.startedMs === undefined) return;
    const next = this.next(this.startedMs);
    if (next === undefined) return;
    const leftMs = next.atMs - Date.now();
    this.timer = setTimeout(
      () => {
        // The wall clock may have been set back meanwhile, and a piece of a long time is not the end of it.
        if (Date.now() < next.atMs) return this.arm();
        if (next.limit === "idle-timeout" && this.limits.onIdle !== "stop") this.rest();
        else this.end();
        this.onExpiry(next);
      },
      Math.min(Math.max(0, leftMs), MAX_TIMER_MS),
    );
  }

  private next(startedMs: number): (Expiry & { atMs: number }) | undefined {
    const { maxDurationMs, idleTimeoutMs } = this.limits;
    const ends: (Expiry & { atMs: number })[] = [];
    if (maxDurationMs !== undefined) {
      const reason = `it has run for its longest time, ${seconds(maxDurationMs)}`;
      ends.push({ limit: "max-duration", atMs: startedMs + maxDurationMs, reason });
    }
    if (idleTimeoutMs !== undefined && this.idleSinceMs !== undefined) {
      const reason = `it was idle for ${seconds(idleTimeoutMs)}`;
      ends.push({ limit: "idle-timeout", atMs: this.idleSinceMs + idleTimeoutMs, reason });
    }
    return ends.sort((a, b) => a.atMs - b.atMs)[0];
  }
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
