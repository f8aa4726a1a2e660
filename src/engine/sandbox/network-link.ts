import {
  IpAddress,
  type NetworkChanges,
  type NetworkExplanation,
  type NetworkQuestion,
  type NetworkRecord,
  type NetworkSpec,
  type NetworkStatistics,
  type PublishedPort,
  SandboxError,
} from "../../contract/index.ts";
import type { NetworkLogOptions, SandboxNetworkControl } from "../engine.ts";
import { type AgentConnection, askOwners, type FlowOwner } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import type { BegunFlow, FlowRecord, NetworkEvent, SandboxNetwork } from "../network/index.ts";
import type { SandboxContext } from "./context.ts";
import { FlowOwners } from "./flow-owners.ts";
import { linkOf, type Membership } from "./network.ts";
import { changedNetwork } from "./network-changes.ts";
import { NetworkLog } from "./network-log.ts";
import type { SandboxRecord } from "./record.ts";

/** A guest that is slower than this is not heard: its records are written without. */
const OWNERS_MS = 1_000;

export interface NetworkLinkHears {
  /** Of a changed spec, to keep it in the sandbox's record. */
  changed(spec: NetworkSpec): void;
  /** Of somebody who comes to a port of it. */
  visited(): void;
  /** Gives the guest's agent, while there is one to be asked. */
  agent(): AgentConnection | undefined;
}

/**
 * A sandbox's part in the network: attached before its VM starts, connected before its first process, closed with its VM, and taken
 * up again by a daemon that finds it running. What was decided goes to its log.
 */
export class NetworkLink implements SandboxNetworkControl {
  readonly log: NetworkLog;
  /** Its place in its group, whether it runs or not. */
  readonly membership: Membership | undefined;
  readonly #context: SandboxContext;
  readonly #id: string;
  readonly #name: string;
  readonly #hears: NetworkLinkHears;
  readonly #owners: FlowOwners;
  /** Settles when all records that came so far are in the log. */
  #told: Promise<void> = Promise.resolve();
  #spec: NetworkSpec;
  #network: SandboxNetwork | undefined;
  #attached: Promise<SandboxNetwork | undefined> | undefined;
  #connected: Promise<void> | undefined;

  constructor(
    context: SandboxContext,
    { id, name, spec, groupNumber }: SandboxRecord,
    logDirectory: string,
    hears: NetworkLinkHears,
  ) {
    this.#context = context;
    this.#id = id;
    this.#name = name;
    this.#spec = spec.network;
    const { group } = spec.network;
    if (group !== undefined && groupNumber !== undefined) this.membership = { group, number: groupNumber };
    this.#hears = hears;
    this.#owners = new FlowOwners((flows) => this.#askOwners(flows));
    this.log = new NetworkLog(logDirectory);
  }

  /**
   * Begins, listens on its ports and opens the file of its capture, if there are any.
   * @returns the ports, with the numbers that the host gave
   * @throws `already_exists` for a port that is in use, and what else a port, a rule or a set is wrong with
   */
  async begin(record: SandboxRecord): Promise<PublishedPort[] | undefined> {
    const attached = this.#attach(record, record.spec.network, false);
    const { ports, capture } = record.spec.network;
    // Nothing that the start of the VM would have to wait for.
    if (ports.length === 0 && capture === undefined) return undefined;
    const bound = (await attached)?.ports;
    return ports.length === 0 ? undefined : bound;
  }

  /** Its machine is there: takes up the link. */
  connect(machine: Machine): void {
    const { networkSocket } = machine;
    if (networkSocket === undefined) return;
    // Not before its VMM is spoken to: it wants to see its socket without a peer once.
    this.#connected = Promise.all([this.#attached, machine.controlled]).then(([network]) =>
      network?.connect(networkSocket),
    );
    this.#connected.catch(() => {});
  }

  /** Resolves when the link is up, or when there is none. */
  async connected(): Promise<void> {
    await this.#connected;
  }

  /** Goes on with a machine that another daemon started. A port that was taken meanwhile is an event. */
  async adopt(record: SandboxRecord): Promise<void> {
    const spec = { ...record.spec.network, ports: record.ports ?? [] };
    try {
      await this.#attach(record, spec, true);
    } catch (error) {
      // It runs, and can be spoken to without a network.
      this.#tell({ type: "network.failed", message: SandboxError.from(error).message });
    }
  }

  async update(changes: NetworkChanges): Promise<NetworkSpec> {
    const spec = changedNetwork(this.#spec, changes, this.#name);
    // First, since it looks at the rules and their sets.
    await this.#network?.update(spec, this.#context.networkSettings());
    this.#spec = spec;
    this.#hears.changed(spec);
    return spec;
  }

  records(options?: NetworkLogOptions): AsyncIterable<NetworkRecord> {
    return this.log.read(options);
  }

  test(question: NetworkQuestion): Promise<NetworkExplanation> {
    return this.#there().test(question);
  }

  statistics(): Promise<NetworkStatistics> {
    return this.#there().statistics();
  }

  /** Ends its connections and frees its ports. */
  async close(): Promise<void> {
    // One that is just being attached is not left behind.
    const network = await this.#attached?.catch(() => undefined);
    this.#network = this.#attached = this.#connected = undefined;
    await network?.close();
  }

  /** Also its log; what follows that ends. */
  async dispose(): Promise<void> {
    await this.close();
    await this.#told;
    await this.log.close();
  }

  #attach(record: SandboxRecord, spec: NetworkSpec, spared: boolean): Promise<SandboxNetwork | undefined> {
    const attached = this.#open(record, spec, spared);
    // Whoever waits for the link hears of it.
    attached.catch(() => {});
    this.#attached = attached;
    return attached;
  }

  async #open(
    record: SandboxRecord,
    spec: NetworkSpec,
    spared: boolean,
  ): Promise<SandboxNetwork | undefined> {
    const link = linkOf(record);
    if (link === undefined) return undefined;
    this.#network = await this.#context.network?.attach({
      id: this.#id,
      name: this.#name,
      link,
      spec,
      settings: this.#context.networkSettings(),
      spared,
      onRecords: (records) => this.#log(records),
      onFlows: (flows) => this.#owners.begun(flows),
      onEvent: (event) => this.#tell(event),
      onVisit: () => this.#hears.visited(),
    });
    return this.#network;
  }

  /** Processes are looked for while others are, and the order stays. */
  #log(records: readonly FlowRecord[]): void {
    const named = this.#owners.name(records);
    this.#told = this.#told.then(async () => this.log.append(await named));
  }

  async #askOwners(flows: readonly BegunFlow[]): Promise<readonly (FlowOwner | undefined)[]> {
    const agent = this.#hears.agent();
    const asked = flows.map((flow) => ({ ...flow, address: IpAddress.parse(flow.address)!.bytes }));
    return agent === undefined ? [] : await askOwners(agent, asked, { timeoutMs: OWNERS_MS });
  }

  #tell({ type, message }: NetworkEvent): void {
    this.#context.events.add({ type, sandbox: this.#id, message, data: { name: this.#name } });
  }

  #there(): SandboxNetwork {
    if (this.#network !== undefined) return this.#network;
    throw new SandboxError("invalid_state", `sandbox '${this.#name}' has no network now`, {
      hint: "It has one while it runs, if its network's scope is not 'none'.",
    });
  }
}
