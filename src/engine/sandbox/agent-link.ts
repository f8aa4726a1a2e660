import type { AgentConnection } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import { reachAgent } from "./reach-agent.ts";
import type { Vigil } from "./vigil.ts";
import { within } from "./within.ts";

const RECONNECT_TIMEOUT_MS = 5_000;
/** The VM's end closes the stream too, and is told so much later at most. */
const VM_END_MS = 1_000;

export interface AgentLinkOptions {
  vigil: Vigil;
  /** Whether the sandbox is to be kept: a stream that closes while it ends is no loss. */
  wanted(): boolean;
  /** There is another stream in place of one that closed for this reason. */
  onAgain(agent: AgentConnection, reason: string): Promise<void>;
  /** There is none, and there will be none. */
  onLost(reason: string): void;
}

/** The stream to the agent of a VM that runs: when it closes while the VM lives, another one is opened. */
export class AgentLink {
  private readonly options: AgentLinkOptions;
  private current: AgentConnection | undefined;

  constructor(options: AgentLinkOptions) {
    this.options = options;
  }

  get agent(): AgentConnection | undefined {
    return this.current;
  }

  /**
   * Opens the stream to the agent of a VM that an earlier daemon left.
   * @param still whether it stands still: then it goes on, not before its stream is there
   */
  async reach(machine: Machine, still: boolean): Promise<AgentConnection> {
    const opening = this.open(machine);
    try {
      if (still) await Promise.race([machine.agentStreamIsTaken(), opening]);
      if (still) await machine.resume();
    } catch (error) {
      opening.then((agent) => agent.close()).catch(() => {});
      throw error;
    }
    const agent = await opening;
    this.keep(machine, agent);
    return agent;
  }

  /** Takes this stream for the one, until it closes. */
  keep(machine: Machine, agent: AgentConnection): void {
    this.current = agent;
    this.options.vigil.watch(agent);
    void agent.closed.then(async ({ by, error }) => {
      if (by === "host" || !this.holds(agent)) return;
      if ((await within(VM_END_MS, machine.exited)) !== undefined || !this.holds(agent)) return;
      const again = await this.open(machine).catch(() => undefined);
      if (!this.holds(agent)) return again?.close();
      if (again === undefined) return this.options.onLost(error.message);
      this.keep(machine, again);
      await this.options.onAgain(again, error.message);
    });
  }

  /** Lets go of it without ending anything. */
  close(): void {
    this.current?.close();
    this.current = undefined;
  }

  private open(machine: Machine): Promise<AgentConnection> {
    const { hears } = this.options.vigil;
    return reachAgent(machine, { filler: true, timeoutMs: RECONNECT_TIMEOUT_MS, ...hears });
  }

  private holds(agent: AgentConnection): boolean {
    return this.current === agent && this.options.wanted();
  }
}
