import type { SandboxState } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import { setClock } from "./guest-clock.ts";
import { assertLegal } from "./lifecycle.ts";
import type { SandboxRecord } from "./record.ts";
import type { Vigil } from "./vigil.ts";

export interface StandstillHost {
  readonly name: string;
  readonly vigil: Vigil;
  state(): SandboxState;
  machine(): Machine;
  /** Undefined for a sandbox that this daemon has found paused. */
  agent(): AgentConnection | undefined;
  /** Has such a one go on, and finds its agent and its processes. */
  reach(): Promise<AgentConnection>;
  transition(state: SandboxState, changes: Partial<SandboxRecord>): void;
  /** Stores it and ends its VM. */
  suspend(reason: string | undefined): Promise<void>;
  /** Loads it again, and has it go on. */
  wake(): Promise<void>;
  /** It goes on because of this. */
  woken(by: string): void;
}

/**
 * Pause, suspension and resume: the VM stands still with all it has in memory, or is stored and ended, and its clock is set when it goes
 * on. One at a time, also with what takes its state; whoever uses a sandbox that stands still has it go on.
 */
export class Standstill {
  readonly #host: StandstillHost;
  #turn: Promise<unknown> = Promise.resolve();
  /** Settles when nothing takes its state. */
  #taking: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(host: StandstillHost) {
    this.#host = host;
  }

  pause(reason?: string): Promise<void> {
    return this.#inTurn(() => this.#pause(reason));
  }

  suspend(reason?: string): Promise<void> {
    return this.#taking.then(() => this.#inTurn(() => this.#suspend(reason)));
  }

  /** Does nothing if it is in use by then. */
  async rest(how: "pause" | "suspend", reason: string): Promise<void> {
    await this.#taking;
    await this.#inTurn(async () => {
      if (this.#host.state() !== "running" || !this.#host.vigil.idle) return;
      if (how === "pause") await this.#pause(reason);
      else await this.#suspend(reason);
    });
  }

  /**
   * Nobody else pauses it, or has it go on, until `work` says that it goes on, or has ended; what takes its state too, and its suspension,
   * wait until it has ended. One that stands still goes on for as long as it takes.
   */
  running<T>(work: (goesOn: () => void) => Promise<T>): Promise<T> {
    const done = this.#taking.then(() => this.#whileRunning(work));
    this.#taking = done.catch(() => {});
    return done;
  }

  /** Nobody has it go on until this has been done. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(work);
  }

  resume(): Promise<void> {
    return this.#inTurn(() => this.#resume());
  }

  /** Resolves when it does not stand still. @param by who uses it, for the event */
  async awake(by: string): Promise<void> {
    if (this.#waiting === 0 && !this.#still) return;
    await this.#inTurn(async () => {
      if (!this.#still) return;
      await this.#resume();
      this.#host.woken(by);
    });
  }

  get #still(): boolean {
    const state = this.#host.state();
    return state === "paused" || state === "suspended";
  }

  async #suspend(reason: string | undefined): Promise<void> {
    const { name } = this.#host;
    assertLegal("suspend", name, this.#host.state());
    if (this.#host.state() === "paused") await this.#resume();
    await this.#host.suspend(reason);
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
    if (this.#host.state() === "suspended") return this.#host.wake();
    const known = this.#host.agent();
    if (known) await this.#host.machine().resume();
    const agent = known ?? (await this.#host.reach());
    await setClock(agent);
    // It may have ended meanwhile.
    assertLegal("resume", name, this.#host.state());
    this.#goesOn(agent);
  }

  #goesOn(agent: AgentConnection): void {
    this.#host.transition("running", { reason: undefined });
    this.#host.vigil.goOn(agent);
  }

  async #whileRunning<T>(work: (goesOn: () => void) => Promise<T>): Promise<T> {
    let working: Promise<T> | undefined;
    await this.#inTurn(async () => {
      const before = this.#host.state();
      if (this.#still) await this.#resume();
      const goesOn = Promise.withResolvers<void>();
      working = work(before === "running" ? goesOn.resolve : () => {});
      const ended = working.then(
        () => {},
        () => {},
      );
      await Promise.race([goesOn.promise, ended]);
      if (this.#host.state() !== "running") return;
      if (before === "paused") await this.#pause(undefined);
      if (before === "suspended") await this.#suspend(undefined);
    });
    return working!;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const done = this.#turn.then(work).finally(() => this.#waiting--);
    this.#turn = done.catch(() => {});
    return done;
  }
}
