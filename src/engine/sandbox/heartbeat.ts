import { SandboxError, type SandboxHealth } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";

export const DEFAULT_HEARTBEAT_MS = 10_000;

/** From one `watch` to its end. */
interface Watch {
  agent: Pick<AgentConnection, "ping">;
}

/**
 * Asks a guest's agent now and then whether it is there. One ping is under way at a time, so that a guest that stands still finds few
 * when it goes on, and answers the last.
 */
export class Heartbeat {
  health: SandboxHealth = "responsive";
  private readonly intervalMs: number;
  private readonly onChange: (health: SandboxHealth) => void;
  private timer: NodeJS.Timeout | undefined;
  private watched: Watch | undefined;

  /** @param intervalMs between pings, and how long one may take */
  constructor(intervalMs: number, onChange: (health: SandboxHealth) => void) {
    this.intervalMs = intervalMs;
    this.onChange = onChange;
  }

  /** Watches this agent from now on. It has just answered. */
  watch(agent: Pick<AgentConnection, "ping">): void {
    this.end();
    const watch = { agent };
    this.watched = watch;
    this.set("responsive");
    this.later(watch);
  }

  /** There is none to watch. */
  end(): void {
    clearTimeout(this.timer);
    this.watched = undefined;
  }

  private later(watch: Watch): void {
    this.timer = setTimeout(() => void this.beat(watch), this.intervalMs);
    this.timer.unref();
  }

  private async beat(watch: Watch): Promise<void> {
    const failure = await watch.agent.ping({ timeoutMs: this.intervalMs }).then(
      () => undefined,
      (error) => SandboxError.from(error).code,
    );
    // A connection that has ended is another's business; so is what an earlier watch of the same one asked.
    if (this.watched !== watch || failure === "unavailable") return;
    this.set(failure === undefined ? "responsive" : "unresponsive");
    // A timeout has waited already. What fails at once (a guest that reads nothing any more) must not be asked without a pause.
    if (failure === "timeout") void this.beat(watch);
    else this.later(watch);
  }

  private set(health: SandboxHealth): void {
    if (health === this.health) return;
    this.health = health;
    this.onChange(health);
  }
}
