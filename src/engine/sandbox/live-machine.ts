import { rmSync } from "node:fs";
import type { FolderMount } from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { Machine, MachineExit } from "../machine/index.ts";
import type { StoredState } from "../state/index.ts";
import { AgentLink } from "./agent-link.ts";
import { discardCopies } from "./capture.ts";
import type { Commands } from "./commands.ts";
import type { SandboxContext } from "./context.ts";
import { setClock } from "./guest-clock.ts";
import { HostFolders } from "./host-folders.ts";
import type { KeptRecord } from "./kept-record.ts";
import { directoryOf, runDirectoryOf } from "./launch-vm.ts";
import { startFromState } from "./load-state.ts";
import type { NetworkLink } from "./network-link.ts";
import { forgetOrigin } from "./origin.ts";
import type { Spans } from "./spans.ts";
import { startMachine } from "./start.ts";
import { thaw } from "./thaw.ts";
import type { Vigil } from "./vigil.ts";
import { WarmVm } from "./warm-vm.ts";

export interface LiveMachineHost {
  readonly context: SandboxContext;
  readonly kept: KeptRecord;
  readonly vigil: Vigil;
  readonly network: NetworkLink;
  commands(): Commands;
  /** Whether the sandbox is to be kept: a stream that closes while it ends is no loss. */
  wanted(): boolean;
  /** It is of no use any more. */
  fail(reason: string): Promise<void>;
  /** It has ended, and nobody had let go of it. */
  onExit(exit: MachineExit): void;
}

/** The VM of a sandbox while there is one: its machine, the stream to its agent, and what the host serves in it. */
export class LiveMachine {
  readonly #host: LiveMachineHost;
  readonly #link: AgentLink;
  readonly #folders: HostFolders;
  #machine: Machine | undefined;

  constructor(host: LiveMachineHost) {
    const { context, kept, vigil } = host;
    this.#host = host;
    this.#folders = new HostFolders(directoryOf(context, kept.now.id), context.folderPolicy);
    this.#link = new AgentLink({
      vigil,
      wanted: () => host.wanted(),
      onAgain: async (agent, reason) => {
        kept.tell("sandbox.reconnected", reason);
        await this.goOn(agent);
      },
      onLost: (reason) => void host.fail(`the guest's agent was lost: ${reason}`),
    });
  }

  get machine(): Machine | undefined {
    return this.#machine;
  }

  /** Undefined also for one that was found standing still. */
  get agent(): AgentConnection | undefined {
    return this.#link.agent;
  }

  /**
   * Starts it, with the link to its network up.
   * @param from a stored state, whose processes stand still until `goOn`, or a VM that waits for a sandbox. Default: a template
   */
  async launch(
    spans: Spans,
    operation: OperationContext,
    from?: StoredState | WarmVm,
  ): Promise<AgentConnection> {
    if (from instanceof WarmVm) return spans.time("claim", () => this.#claim(from));
    const { context, kept, vigil, network } = this.#host;
    if (from === undefined) this.#folders.begin();
    const hears = {
      ...vigil.hears,
      onMachine: (machine: Machine) => kept.save({ machine: machine.record }),
      mountFolder: (guest: AgentConnection, mount: FolderMount) =>
        this.#mountFolder(guest, mount, operation.signal),
    };
    const { machine, agent } =
      from === undefined
        ? await startMachine(context, kept.now, spans, operation, hears)
        : await startFromState(context, kept.now, from, spans, operation, hears);
    this.#attach(machine);
    this.#link.keep(machine, agent);
    await spans.time("network", () => network.connected());
    return agent;
  }

  /** Takes over one that an earlier daemon started. @returns its agent, unless it stands still */
  async adopt(machine: Machine, paused: boolean): Promise<AgentConnection | undefined> {
    if (paused) await machine.pause();
    await discardCopies(directoryOf(this.#host.context, this.#host.kept.now.id), machine);
    // That daemon may have died while it took its state.
    const agent = paused ? undefined : await this.#link.reach(machine, !(await machine.runs()));
    await this.#host.network.adopt(this.#host.kept.now);
    this.#attach(machine);
    if (agent?.info.frozen) await setClock(agent);
    if (agent) await this.goOn(agent);
    return agent;
  }

  /** Has one go on that was found standing still. */
  async reach(): Promise<AgentConnection> {
    const agent = await this.#link.reach(this.#machine!, true);
    await this.goOn(agent);
    return agent;
  }

  /**
   * Goes on with the processes that its agent has; those that stand still go on.
   * @param options `fresh`: the sandbox's log begins here: what it knows nothing of was told to another sandbox
   */
  async goOn(agent: AgentConnection, { fresh = false } = {}): Promise<void> {
    const { kept } = this.#host;
    const { folders = [], spec, hooksDue = false } = kept.now;
    const served = this.#folders.adopt(agent, folders, spec.mounts);
    await this.#host.commands().adopt(agent, served, fresh);
    if (agent.info.frozen) await thaw(agent, hooksDue, (type, message) => kept.tell(type, message));
    if (hooksDue) kept.save({ hooksDue: undefined });
  }

  /** From here on nothing of it concerns the sandbox. @returns the machine, which still runs */
  release(): Machine | undefined {
    const machine = this.#machine;
    this.#machine = undefined;
    this.#link.close();
    this.#folders.close();
    return machine;
  }

  /** There is nothing to be done with it but to end it. */
  readonly giveUp = (reason: string): Promise<void> => this.#host.fail(reason);

  /** It is gone: nothing is left of it in the record or on disk. */
  forget(): void {
    const { context, kept } = this.#host;
    const { machine: _machine, uid, ...rest } = kept.now;
    context.uids.release(uid);
    kept.now = rest;
    rmSync(runDirectoryOf(context, rest.id), { recursive: true, force: true });
    forgetOrigin(directoryOf(context, rest.id));
  }

  /** Lets go of it without ending it. */
  detach(): void {
    this.#link.close();
    this.#folders.close();
    this.#machine?.detach();
  }

  /** The link is connected while the guest becomes another one. If that fails, the VM is not this one's. */
  async #claim(warm: WarmVm): Promise<AgentConnection> {
    const { kept, vigil, network } = this.#host;
    const { machine, agent } = warm;
    kept.now = { ...kept.now, machine: machine.record };
    network.connect(machine);
    await warm.become(kept.now, vigil.hears);
    this.#hold(machine);
    this.#link.keep(machine, agent);
    await network.connected();
    return agent;
  }

  #attach(machine: Machine): void {
    this.#hold(machine);
    this.#host.network.connect(machine);
  }

  #hold(machine: Machine): void {
    this.#machine = machine;
    void machine.exited.then((exit) => {
      if (this.#machine === machine) this.#host.onExit(exit);
    });
  }

  #mountFolder(agent: AgentConnection, mount: FolderMount, signal?: AbortSignal): Promise<void> {
    const { kept } = this.#host;
    const channel = this.#host.commands().numbers.take();
    kept.save({ folders: [...(kept.now.folders ?? []), { channel, target: mount.target }] });
    return this.#folders.mount(agent, channel, mount, signal);
  }
}
