import type { LogLevel } from "./control.ts";

/** A line of the guest agent's log. The text is the guest's. */
export interface AgentLog {
  level: LogLevel;
  message: string;
}

const BURST = 64;
const PER_SECOND = 64;

/**
 * Passes the agent's log on, at most 64 messages at once and 64 a second: a hostile guest must not fill the host's
 * disk. What is dropped is counted in the next message.
 */
export class GuestLog {
  readonly #onLog: (entry: AgentLog) => void;
  readonly #now: () => number;
  #tokens = BURST;
  #at: number;
  #dropped = 0;

  /** @param now a clock in milliseconds */
  constructor(onLog: (entry: AgentLog) => void, now: () => number = () => performance.now()) {
    this.#onLog = onLog;
    this.#now = now;
    this.#at = now();
  }

  add(entry: AgentLog): void {
    const now = this.#now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#at) / 1_000) * PER_SECOND);
    this.#at = now;
    if (this.#tokens < 1) {
      this.#dropped += 1;
      return;
    }
    this.#tokens -= 1;
    const note = this.#dropped > 0 ? ` (${this.#dropped} earlier messages were dropped)` : "";
    this.#dropped = 0;
    this.#onLog({ level: entry.level, message: entry.message + note });
  }
}
