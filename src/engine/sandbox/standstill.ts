import type { SandboxState } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import { assertLegal } from "./lifecycle.ts";
import type { SandboxRecord } from "./record.ts";
import type { Vigil } from "./vigil.ts";

/** A guest that takes longer to hear what time it is has its heartbeat to tell of it. */
const CLOCK_TIMEOUT_MS = 5_000;

export interface StandstillHost {
  readonly name: string;
  readonly vigil: Vigil;
  state(): SandboxState;
  machine(): Machine;
  /** Undefined for a sandbox that this daemon has found paused. */
  agent(): AgentConnection | undefined;
  /** Finds the agent of such a one, and its processes. */
  reach(): Promise<AgentConnection>;
  transition(state: SandboxState, changes: Partial<SandboxRecord>): void;
  /** It goes on because of this. */
  woken(by: string): void;
}

/**
 * Pause and resume: the VM stands still with all it has in memory, and its clock is set when it goes on. One at a time; whoever uses a
 * paused sandbox has it go on.
 */
export class Standstill {
  readonly #host: StandstillHost;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(host: StandstillHost) {
    this.#host = host;
  }

  pause(reason?: string): Promise<void> {
    return this.#inTurn(() => this.#pause(reason));
  }

  /** Does nothing if it is in use by then. */
  pauseIdle(reason: string): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#host.state() === "running" && this.#host.vigil.idle) await this.#pause(reason);
    });
  }

  resume(): Promise<void> {
    return this.#inTurn(() => this.#resume());
  }

  /** Resolves when it does not stand still. @param by who uses it, for the event */
  async awake(by: string): Promise<void> {
    if (this.#waiting === 0 && this.#host.state() !== "paused") return;
    await this.#inTurn(async () => {
      if (this.#host.state() !== "paused") return;
      await this.#resume();
      this.#host.woken(by);
    });
  }

  async #pause(reason: string | undefined): Promise<void> {
    const { name, vigil } = this.#host;
    assertLegal("pause", name, this.#host.state());
    this.#host.transition("paused", { reason });
    vigil.rest();
    try {
      await this.#host.machine().pause();
    } catch (error) {
      // If its VM has ended there is nothing to go on with.
      if (this.#host.state() === "paused") this.#goesOn(this.#host.agent()!);
      throw error;
    }
  }

  /** Written down after it is done: a daemon that dies in between has the next one pause it, and nobody has used it yet. */
  async #resume(): Promise<void> {
    const { name } = this.#host;
    assertLegal("resume", name, this.#host.state());
    await this.#host.machine().resume();
    const agent = this.#host.agent() ?? (await this.#host.reach());
    const setTimeNs = BigInt(Date.now()) * 1_000_000n;
    await agent.ping({ setTimeNs, timeoutMs: CLOCK_TIMEOUT_MS }).catch(() => {});
    // It may have ended meanwhile.
    assertLegal("resume", name, this.#host.state());
    this.#goesOn(agent);
  }

  #goesOn(agent: AgentConnection): void {
    this.#host.transition("running", { reason: undefined });
    this.#host.vigil.goOn(agent);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const done = this.#turn.then(work).finally(() => this.#waiting--);
    this.#turn = done.catch(() => {});
    return done;
  }
}
