import type { Socket } from "node:net";
import { SandboxError } from "../../../contract/errors.ts";
import type { PublishedPort } from "../../../contract/network.ts";
import type {
  NetworkExplanation,
  NetworkQuestion,
  NetworkStatistics,
} from "../../../contract/network-record.ts";
import { parseTarget } from "../../../contract/network-rule.ts";
import type { LocalNames } from "../dns/local-answer.ts";
import { NameTable } from "../dns/name-table.ts";
import { HostResolver } from "../dns/resolver.ts";
import { DnsService } from "../dns/service.ts";
import type { FlowAddress } from "../flow.ts";
import { Gateway } from "../gateway/gateway.ts";
import type { Groups } from "../group/group.ts";
import type { GroupMember } from "../group/member.ts";
import type { GuestLink } from "../guest-link.ts";
import { PublishedPorts } from "../inward/inward.ts";
import { FrameLink } from "../link/frame-link.ts";
import type { PcapWriter } from "../link/pcap-writer.ts";
import type { AuditRecord } from "../outward/audit.ts";
import type { Landmarks } from "../outward/flow-question.ts";
import { Outward } from "../outward/outward.ts";
import { throughProxy } from "../outward/proxy/through-proxy.ts";
import { TokenBucket } from "../outward/token-bucket.ts";
import { ETHERNET_HEADER } from "../packet/ethernet.ts";
import { NetworkPolicy } from "../policy/policy.ts";
import { dialLoopback } from "./dial-loopback.ts";
import { explain } from "./explain.ts";
import { FlowAnnouncer } from "./flow-announcer.ts";
import { LinkDialer } from "./link-dialer.ts";
import { localNamesOf } from "./local-names.ts";
import {
  type BegunFlow,
  type FlowRecord,
  linkFromText,
  type NetworkEvent,
  type StackOptions,
  type StackSettings,
  type StackSpec,
} from "./messages.ts";
import { PacketRates } from "./packet-rates.ts";
import { QuestionRate } from "./question-rate.ts";
import { surroundingsOf, unsurveyed } from "./surroundings.ts";

/**
 * The whole network of one sandbox, put together: the link to its VMM, the gateway behind it, the policy, names, the ways out and in, and
 * its part in a group.
 * The link may break and come back while the rest stays. Bounds: those of the parts, with the spec's limits.
 */

export interface StackHears {
  onRecord(record: FlowRecord): void;
  onFlows(flows: BegunFlow[]): void;
  onEvent(event: NetworkEvent): void;
  /** Somebody from outside, or a fellow, comes to one of its ports. */
  onVisit?(): void;
}

export class SandboxStack implements AsyncDisposable {
  readonly #link: GuestLink;
  readonly #gateway: Gateway;
  readonly #outward: Outward;
  readonly #landmarks: Landmarks;
  readonly #resolver: HostResolver;
  readonly #hears: StackHears;
  readonly #buckets: Buckets;
  readonly #questions: QuestionRate;
  readonly #rates: PacketRates;
  readonly #announcer: FlowAnnouncer;
  readonly #closed = new AbortController();
  readonly #member: GroupMember | undefined;
  readonly #names: LocalNames;
  #published: PublishedPorts | undefined;
  #dialer: LinkDialer | undefined;
  #wire: FrameLink | undefined;
  #wired = Promise.withResolvers<void>();
  #pcap: PcapWriter | undefined;
  #bytesOut = 0;
  #bytesIn = 0;

  private constructor(options: StackOptions, hears: StackHears, groups: Groups) {
    const { spec, settings } = options;
    const { limits } = spec;
    const link = linkFromText(options.link);
    this.#link = link;
    this.#hears = hears;
    this.#announcer = new FlowAnnouncer((flows) => hears.onFlows(flows));
    this.#buckets = {
      egress: new TokenBucket(limits.egressBytesPerSecond),
      ingress: new TokenBucket(limits.ingressBytesPerSecond),
    };
    this.#rates = new PacketRates(limits, () => this.#gateway.resume());
    this.#landmarks = { gateway: link.gateway.addresses.map(({ address }) => address), host: link.host };
    const { resolvers } = settings;
    this.#resolver = new HostResolver(resolvers === undefined ? {} : { servers: async () => resolvers });
    this.#names = localNamesOf(link, () => this.#member?.names);
    const table = new NameTable();
    this.#questions = new QuestionRate(limits.queriesPerSecond);
    const dns = new DnsService({
      policy: () => this.#outward.policy,
      resolver: this.#resolver,
      table,
      local: this.#names,
      mayAsk: () => this.#questions.take(),
      onQuestion: (record) => hears.onRecord({ kind: "name", time: new Date().toISOString(), ...record }),
    });
    this.#outward = new Outward({
      policy: this.#policyOf(spec, settings),
      table,
      dns,
      landmarks: this.#landmarks,
      unreachable: (flow, code) => this.#gateway.unreachable(flow, code),
      ...(settings.proxy === undefined ? {} : throughProxy(settings.proxy, { names: settings.proxyNames })),
      dialLocal: dialLoopback,
      unsurveyed,
      connections: limits.connections,
      ...this.#buckets,
      audit: (record) => this.#audit(record),
      began: (flow, protocol) => this.#announcer.begun(flow, protocol),
    });
    this.#gateway = new Gateway(
      { link, tcp: { connections: limits.connections } },
      {
        tcp: (request) => (this.#memberFor(request) ?? this.#outward).tcp(request),
        udp: (flow) => (this.#memberFor(flow) ?? this.#outward).udp(flow),
        echo: (destination) => this.#member?.echo(destination) ?? "prohibited",
      },
      { send: (parts) => this.#send(parts) },
    );
    this.#member = this.#joinGroup(options, groups);
  }

  /** Throws what a rule, a set, a published port or a capture file is wrong with; nothing is left then. */
  static async open(options: StackOptions, hears: StackHears, groups: Groups): Promise<SandboxStack> {
    const stack = new SandboxStack(options, hears, groups);
    try {
      await stack.#capture(options);
      await stack.#publish(options);
      return stack;
    } catch (error) {
      await stack[Symbol.asyncDispose]();
      throw error;
    }
  }

  get ports(): PublishedPort[] {
    return this.#published?.ports ?? [];
  }

  /** Keeps the link up from now on. Resolves when it is. @throws `timeout` if the VMM does not listen in time */
  async connect(socket: string, timeoutMs: number): Promise<void> {
    this.#dialer?.[Symbol.dispose]();
    this.#wired.resolve();
    const wired = Promise.withResolvers<void>();
    this.#wired = wired;
    this.#dialer = new LinkDialer(socket, (stream) => this.#use(stream));
    const late = () =>
      wired.reject(
        new SandboxError("timeout", `the sandbox's link at '${socket}' was not there within ${timeoutMs} ms`),
      );
    const timer = setTimeout(late, timeoutMs);
    try {
      await wired.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** From now on these rules and limits hold; what the rules do not let through is closed. Ports stay. */
  update(spec: StackSpec, settings: StackSettings): void {
    const policy = this.#policyOf(spec, settings);
    const { connections, egressBytesPerSecond, ingressBytesPerSecond, queriesPerSecond } = spec.limits;
    this.#buckets.egress.limit(egressBytesPerSecond);
    this.#buckets.ingress.limit(ingressBytesPerSecond);
    this.#questions.limit(queriesPerSecond);
    this.#rates.limit(spec.limits);
    this.#gateway.tcp.limitConnections(connections);
    this.#outward.limitConnections(connections);
    this.#outward.update(policy);
    this.#published?.recheck(policy);
    this.#member?.limitConnections(connections);
    this.#member?.recheck();
  }

  test(question: NetworkQuestion): Promise<NetworkExplanation> {
    return explain(question, {
      policy: this.#outward.policy,
      resolver: this.#resolver,
      local: this.#names,
      landmarks: this.#landmarks,
      member: this.#member,
      signal: this.#closed.signal,
    });
  }

  get statistics(): NetworkStatistics {
    return {
      bytesOut: this.#bytesOut,
      bytesIn: this.#bytesIn,
      connections: this.#outward.size + (this.#published?.size ?? 0) + (this.#member?.size ?? 0),
      dropped: this.#gateway.drops.all(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#member?.[Symbol.dispose]();
    this.#published?.[Symbol.dispose]();
    this.#outward.close();
    this.#gateway[Symbol.dispose]();
    this.#rates[Symbol.dispose]();
    this.#announcer[Symbol.dispose]();
    this.#wired.promise.catch(() => {});
    this.#wired.reject(new SandboxError("cancelled", "the sandbox's network was closed"));
    this.#dialer?.[Symbol.dispose]();
    this.#wire?.[Symbol.dispose]();
    await this.#pcap?.[Symbol.asyncDispose]();
  }

  async #capture({ spec: { capture }, spared }: StackOptions): Promise<void> {
    if (capture === undefined) return;
    const { file, maxMiB } = capture;
    const ended = (reason: string) =>
      this.#hears.onEvent({
        type: "network.capture-ended",
        message: `nothing more is written to ${file}: ${reason}`,
      });
    try {
      const { PcapWriter } = await import("../link/pcap-writer.ts");
      const options = { maxBytes: maxMiB * 1024 ** 2, goOn: spared, ended };
      this.#pcap = await PcapWriter.open(file, options);
    } catch (error) {
      if (!spared) throw error;
      ended(SandboxError.from(error).message);
    }
  }

  async #publish({ spec, spared }: StackOptions): Promise<void> {
    const lost = (_: PublishedPort, error: Error) =>
      this.#hears.onEvent({ type: "network.port-lost", message: error.message });
    this.#published = await PublishedPorts.listen(
      spec.ports,
      {
        link: this.#link,
        gateway: this.#gateway,
        policy: () => this.#outward.policy,
        ...this.#buckets,
        audit: (record) => this.#audit(record),
        visited: () => this.#hears.onVisit?.(),
      },
      { lost: spared ? lost : undefined },
    );
  }

  #joinGroup({ name, spec }: StackOptions, groups: Groups): GroupMember | undefined {
    const { group: addresses } = this.#link;
    if (spec.group === undefined || addresses === undefined) return undefined;
    return groups.join(spec.group, {
      name,
      addresses,
      policy: () => this.#outward.policy,
      visited: () => this.#hears.onVisit?.(),
      gateway: this.#gateway,
      unreachable: (flow, code) => this.#gateway.unreachable(flow, code),
      connections: spec.limits.connections,
      ...this.#buckets,
      audit: (record) => this.#audit(record),
    });
  }

  /** Who takes what goes to an address of the group. */
  #memberFor({ destination }: FlowAddress): GroupMember | undefined {
    return this.#member?.covers(destination) ? this.#member : undefined;
  }

  #policyOf({ scope, rules }: StackSpec, { sets }: StackSettings): NetworkPolicy {
    return new NetworkPolicy({
      scope,
      rules,
      sets: new Map(Object.entries(sets).map(([name, targets]) => [name, targets.map(parseTarget)])),
      surroundings: surroundingsOf(this.#link),
    });
  }

  #use(stream: Socket): void {
    const wire = new FrameLink(stream, this.#link.mtu + ETHERNET_HEADER, {
      onFrame: (frame) => {
        this.#bytesOut += frame.length;
        if (this.#rates.egress()) this.#gateway.receive(frame);
        else this.#gateway.drops.add("packet-rate");
      },
      onDrain: () => this.#gateway.resume(),
      onClose: (error) => {
        if (this.#wire === wire) this.#wire = undefined;
        if (error !== undefined && !this.#closed.signal.aborted)
          this.#hears.onEvent({ type: "network.link-broken", message: error.message });
      },
    });
    wire.tap = this.#pcap;
    this.#wire = wire;
    this.#gateway.resume();
    this.#wired.resolve();
  }

  /** While there is no link it goes nowhere, as on a network whose cable is out. */
  #send(parts: readonly Uint8Array[]): boolean {
    if (this.#wire === undefined) return true;
    if (!this.#rates.ingress()) {
      this.#gateway.drops.add("packet-rate");
      return !this.#rates.full;
    }
    for (const { length } of parts) this.#bytesIn += length;
    const room = this.#wire.send(parts);
    return room && !this.#rates.full;
  }

  #audit({ time, ...record }: AuditRecord): void {
    this.#hears.onRecord({ kind: "connection", time: new Date(time).toISOString(), ...record });
  }
}

/** Shared by all that goes in one direction, whoever began it. */
interface Buckets {
  egress: TokenBucket;
  ingress: TokenBucket;
}
