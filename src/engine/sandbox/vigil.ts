import type { SandboxHealth } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { SandboxContext } from "./context.ts";
import { DEFAULT_HEARTBEAT_MS, Heartbeat } from "./heartbeat.ts";
import { type Expiry, Lifetime } from "./lifetime.ts";
import type { SandboxLog } from "./log.ts";
import { OutOfMemory } from "./out-of-memory.ts";
import type { SandboxRecord } from "./record.ts";
import type { AgentListeners } from "./start.ts";

/** What is done about what the vigil sees. */
export interface VigilActions {
  expired(expiry: Expiry): void;
  save(changes: Partial<SandboxRecord>): void;
}

/** What is watched of a sandbox while it runs: its time, its agent's pulse, and what its kernel kills. Each change is an event. */
export class Vigil {
  private readonly context: SandboxContext;
  private readonly sandbox: { id: string; name: string };
  private readonly lifetime: Lifetime;
  private readonly heartbeat: Heartbeat;
  private readonly outOfMemory: OutOfMemory;

  constructor(context: SandboxContext, record: SandboxRecord, log: SandboxLog, actions: VigilActions) {
    const { id, name, spec } = record;
    this.context = context;
    this.sandbox = { id, name };
    this.outOfMemory = new OutOfMemory(context.events, this.sandbox, log);
    this.heartbeat = new Heartbeat(context.heartbeatMs ?? DEFAULT_HEARTBEAT_MS, (health) =>
      this.tell(
        health,
        health === "responsive" ? "the guest's agent answers again" : "the guest's agent does not answer",
      ),
    );
    const onExpiry = (expiry: Expiry) => {
      this.tell("expired", expiry.reason, { limit: expiry.limit });
      actions.expired(expiry);
    };
    this.lifetime = new Lifetime(spec, onExpiry, (idleSince) => actions.save({ idleSince }));
  }

  /** Whether the agent answers. */
  get health(): SandboxHealth {
    return this.heartbeat.health;
  }

  /** What to do with what an agent tells by itself. */
  get hears(): AgentListeners {
    return {
      onLog: (entry) => this.context.onAgentLog(this.sandbox.id, entry),
      onOutOfMemory: (kills) => this.outOfMemory.add(kills),
    };
  }

  /** It runs. */
  begin({ startedAt, idleSince }: SandboxRecord): void {
    this.lifetime.start(startedAt ?? new Date().toISOString(), idleSince);
  }

  /** It has this connection from now on. */
  watch(agent: AgentConnection): void {
    this.heartbeat.watch(agent);
  }

  /** Whether nobody does anything with it. */
  get idle(): boolean {
    return this.lifetime.idle;
  }

  /** Its VM stands still: there is no pulse. */
  rest(): void {
    this.lifetime.rest();
    this.heartbeat.end();
  }

  /** Its VM goes on. */
  goOn(agent: AgentConnection): void {
    this.lifetime.goOn();
    this.heartbeat.watch(agent);
  }

  /** It is not idle until what this gives has been called. */
  busy(): () => void {
    return this.lifetime.begin();
  }

  /** Nor until this has been read. */
  async *reading<T>(source: AsyncIterable<T>): AsyncGenerator<T> {
    const done = this.lifetime.begin();
    try {
      yield* source;
    } finally {
      done();
    }
  }

  /** It does not run any more, or is another daemon's. */
  end(): void {
    this.lifetime.end();
    this.heartbeat.end();
    this.outOfMemory.end();
  }

  private tell(what: string, message: string, data: Record<string, unknown> = {}): void {
    const { id, name } = this.sandbox;
    this.context.events.add({ type: `sandbox.${what}`, sandbox: id, message, data: { name, ...data } });
  }
}
