import { availableParallelism } from "node:os";
import { type NetworkSpec, type PublishedPort, ruleTextOf } from "../../contract/network.ts";
import type {
  NetworkExplanation,
  NetworkQuestion,
  NetworkStatistics,
} from "../../contract/network-record.ts";
import type { GuestLink } from "./guest-link.ts";
import {
  type BegunFlow,
  type FlowRecord,
  type FromStack,
  linkToText,
  type NetworkEvent,
  type StackOptions,
  type StackSettings,
  type StackSpec,
} from "./worker/messages.ts";
import { NetworkThread } from "./worker/network-thread.ts";

/**
 * The networks of all sandboxes. Their stacks run in a few threads, so that one sandbox's traffic does not hold up the daemon. To start
 * a thread costs a processor 60 ms, a quarter of a sandbox's start: so the first is there before it is needed and stays, and another is
 * started when those there are have their fill, and ended after its last sandbox. One that dies is replaced, and its sandboxes
 * are attached again; their connections are lost.
 */

export interface AttachRequest {
  id: string;
  /** Of the sandbox: what fellows of its group know it by. */
  name: string;
  link: GuestLink;
  spec: NetworkSpec;
  settings: StackSettings;
  /** A published port or a capture file that cannot be had is an event and no error. Default: false. */
  spared?: boolean;
  onRecords(records: FlowRecord[]): void;
  /** Some of the flows that begin, so that it can be found out whose they are. */
  onFlows?(flows: BegunFlow[]): void;
  onEvent(event: NetworkEvent): void;
  /** Somebody comes to a published port, or one of its group to any, and is let in. */
  onVisit?(): void;
}

const MAX_THREADS = 2;
/** Of each thread there is, before another is started. */
const FILL = 8;
/** A daemon is often started by somebody who wants a sandbox at once, perhaps one without a network. */
const WARM_UP_AFTER_MS = 500;
/** More deaths than this in so long, and the sandboxes of the last one stay without a network. */
const MAX_DEATHS = 5;
const DEATHS_WITHIN_MS = 60_000;
const RECONNECT_MS = 10_000;

export class NetworkService implements AsyncDisposable {
  readonly #threads = new Set<NetworkThread>();
  readonly #networks = new Map<string, SandboxNetwork>();
  /** Who hears of a sandbox's network: also while it is being attached, and until all of it was told. */
  readonly #requests = new Map<string, AttachRequest>();
  readonly #warmUp: NodeJS.Timeout;
  #deaths: number[] = [];

  constructor({ warmUpAfterMs = WARM_UP_AFTER_MS }: { warmUpAfterMs?: number } = {}) {
    this.#warmUp = setTimeout(() => this.#threads.size > 0 || this.#newThread(), warmUpAfterMs).unref();
  }

  /**
   * Takes a sandbox's network up: published ports are listened on, the link is connected later.
   * @throws what a rule, a set or a published port is wrong with
   */
  async attach(request: AttachRequest): Promise<SandboxNetwork> {
    const options: StackOptions = {
      id: request.id,
      name: request.name,
      link: linkToText(request.link),
      spec: textOf(request.spec),
      settings: request.settings,
      spared: request.spared ?? false,
    };
    const thread = this.#threadFor(request);
    this.#requests.set(request.id, request);
    try {
      const ports = await thread.ask("attach", options);
      const network: SandboxNetwork = new SandboxNetwork(request, options, thread, ports, () =>
        this.#detach(network),
      );
      this.#networks.set(request.id, network);
      return network;
    } catch (error) {
      this.#requests.delete(request.id);
      this.#leave(thread, request.id);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#warmUp);
    await Promise.all([...this.#threads].map((thread) => thread.close()));
    this.#threads.clear();
    this.#networks.clear();
  }

  /** That of its group; else the one with the fewest sandboxes, or a new one. */
  #threadFor({ id, spec: { group } }: AttachRequest): NetworkThread {
    const thread = this.#threadOfGroup(group) ?? this.#leastThread();
    thread.sandboxes.set(id, group);
    return thread;
  }

  /** Traffic of a group does not go from thread to thread. */
  #threadOfGroup(group: string | undefined): NetworkThread | undefined {
    if (group === undefined) return undefined;
    return [...this.#threads].find(({ sandboxes }) => [...sandboxes.values()].includes(group));
  }

  #leastThread(): NetworkThread {
    const least = [...this.#threads].sort((a, b) => a.sandboxes.size - b.sandboxes.size)[0];
    const wanted = Math.min(MAX_THREADS, availableParallelism());
    const enough = this.#threads.size >= wanted || (least?.sandboxes.size ?? FILL) < FILL;
    return enough ? least! : this.#newThread();
  }

  #newThread(): NetworkThread {
    const thread: NetworkThread = new NetworkThread({
      onSaid: (message) => this.#hear(message),
      onDeath: (reason) => void this.#replace(thread, reason),
    });
    this.#threads.add(thread);
    return thread;
  }

  #hear(message: FromStack): void {
    const request = this.#requests.get(message.id);
    if (message.say === "records") request?.onRecords(message.records);
    else if (message.say === "flows") request?.onFlows?.(message.flows);
    else if (message.say === "event") request?.onEvent(message.event);
    else request?.onVisit?.();
  }

  async #detach(network: SandboxNetwork): Promise<void> {
    const { id } = network.request;
    await network.thread.ask("detach", { id }).catch(() => {});
    if (this.#networks.get(id) === network) {
      this.#networks.delete(id);
      this.#requests.delete(id);
    }
    this.#leave(network.thread, id);
  }

  #leave(thread: NetworkThread, id: string): void {
    thread.sandboxes.delete(id);
    const last = this.#threads.size === 1;
    if (thread.sandboxes.size > 0 || last || !this.#threads.delete(thread)) return;
    void thread.close();
  }

  async #replace(dead: NetworkThread, reason: string): Promise<void> {
    this.#threads.delete(dead);
    const now = performance.now();
    this.#deaths = [...this.#deaths.filter((at) => now - at < DEATHS_WITHIN_MS), now];
    const ids = [...dead.sandboxes.keys()];
    await Promise.all(
      ids.map(async (id) => {
        const network = this.#networks.get(id);
        if (network === undefined) return;
        const { onEvent } = network.request;
        try {
          if (this.#deaths.length > MAX_DEATHS) throw new Error("threads of the network die again and again");
          await network.moveTo(this.#threadFor(network.request));
          onEvent({ type: "network.restarted", message: `its connections were lost: ${reason}` });
        } catch (error) {
          const why = error instanceof Error ? error.message : error;
          onEvent({ type: "network.failed", message: `${reason}; it is not attached again: ${why}` });
        }
      }),
    );
  }
}

/** The network of one sandbox. */
export class SandboxNetwork {
  readonly request: AttachRequest;
  /** Published ports, with the numbers that the host gave. */
  readonly ports: PublishedPort[];
  readonly #detach: () => Promise<void>;
  #options: StackOptions;
  #thread: NetworkThread;
  #socket: string | undefined;

  /** Made by the service only. */
  constructor(
    request: AttachRequest,
    options: StackOptions,
    thread: NetworkThread,
    ports: PublishedPort[],
    detach: () => Promise<void>,
  ) {
    this.request = request;
    this.ports = ports;
    this.#options = options;
    this.#thread = thread;
    this.#detach = detach;
  }

  get thread(): NetworkThread {
    return this.#thread;
  }

  /** Connects the link and keeps it up. @throws `timeout` if the VMM does not listen in time */
  async connect(socket: string, timeoutMs = RECONNECT_MS): Promise<void> {
    this.#socket = socket;
    await this.#thread.ask("connect", { id: this.request.id, socket, timeoutMs });
  }

  /** Other rules, limits or another scope, from now on. What the rules do not let through is closed; ports stay. */
  async update(spec: NetworkSpec, settings: StackSettings): Promise<void> {
    const next = textOf(spec);
    await this.#thread.ask("update", { id: this.request.id, spec: next, settings });
    this.#options = { ...this.#options, spec: next, settings };
  }

  /** What would become of a connection, and why. */
  test(question: NetworkQuestion): Promise<NetworkExplanation> {
    return this.#thread.ask("test", { id: this.request.id, question });
  }

  statistics(): Promise<NetworkStatistics> {
    return this.#thread.ask("statistics", { id: this.request.id });
  }

  /** Ends all connections and frees the ports. */
  close(): Promise<void> {
    return this.#detach();
  }

  /** After the death of its thread. */
  async moveTo(thread: NetworkThread): Promise<void> {
    this.#thread = thread;
    const spec = { ...this.#options.spec, ports: this.ports };
    await thread.ask("attach", { ...this.#options, spec, spared: true });
    if (this.#socket !== undefined) await this.connect(this.#socket);
  }
}

function textOf({ rules, ...spec }: NetworkSpec): StackSpec {
  return { ...spec, rules: rules.map(ruleTextOf) };
}
