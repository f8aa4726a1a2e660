import { SandboxError, type SandboxHealth } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";

export const DEFAULT_HEARTBEAT_MS = 10_000;

/**
 * Asks a guest's agent now and then whether it is there. One ping is under way at a time, so that a guest that stands still finds few
 * when it goes on, and answers the last.
 */
export class Heartbeat {
  health: SandboxHealth = "responsive";
  private readonly intervalMs: number;
  private readonly onChange: (health: SandboxHealth) => void;
  private timer: NodeJS.Timeout | undefined;
  private agent: Pick<AgentConnection, "ping"> | undefined;

  /** @param intervalMs between pings, and how long one may take */
  constructor(intervalMs: number, onChange: (health: SandboxHealth) => void) {
    this.intervalMs = intervalMs;
    this.onChange = onChange;
  }

  /** Watches this agent from now on. It has just answered. */
  watch(agent: Pick<AgentConnection, "ping">): void {
    this.end();
    this.agent = agent;
    this.set("responsive");
    this.later(agent);
  }

  /** There is none to watch. */
  end(): void {
    clearTimeout(this.timer);
    this.agent = undefined;
  }

  private later(agent: Pick<AgentConnection, "ping">): void {
    this.timer = setTimeout(() => void this.beat(agent), this.intervalMs);
    this.timer.unref();
  }

  private async beat(agent: Pick<AgentConnection, "ping">): Promise<void> {
    const failure = await agent.ping({ timeoutMs: this.intervalMs }).then(
      () => undefined,
      (error) => SandboxError.from(error).code,
    );
    // A connection that has ended is another's business.
    if (this.agent !== agent || failure === "unavailable") return;
    this.set(failure === undefined ? "responsive" : "unresponsive");
    // A timeout has waited already. What fails at once (a guest that reads nothing any more) must not be asked without a pause.
    if (failure === "timeout") void this.beat(agent);
    else this.later(agent);
  }

  private set(health: SandboxHealth): void {
    if (health === this.health) return;
    this.health = health;
    this.onChange(health);
  }
}
