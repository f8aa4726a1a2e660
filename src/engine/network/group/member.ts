import type { IpAddress } from "../../../contract/ip-address.ts";
import { IpPrefix } from "../../../contract/ip-prefix.ts";
import type { LocalNames } from "../dns/local-answer.ts";
import type { FlowAddress } from "../flow.ts";
import { UDP_LIMITS } from "../gateway/udp-flows.ts";
import type { LinkEnd } from "../guest-link.ts";
import { Audit } from "../outward/audit.ts";
import type { GuestDatagrams, GuestRequest } from "../outward/guest-side.ts";
import type { Explanation, Question } from "../policy/policy.ts";
import { addressOf, type Fellow, GROUP_ZONE, namesOf } from "./fellow.ts";
import { FellowTcp } from "./fellow-tcp.ts";
import { FellowUdp } from "./fellow-udp.ts";
import { Passage, type Refusal } from "./passage.ts";

/**
 * One sandbox of a group: what it asks of its fellows, and what they ask of it. Bounds: as many flows of its own as its limit on
 * connections, and of its fellows' half of the connections and half of the exchanges of datagrams that it may have, so that these cannot
 * take all from it. Of attempts that it denies its log has each pair
 * of fellow and port once, until its rules change, for 1,024 of them: a fellow cannot fill it.
 */

export interface MemberOptions extends Omit<Fellow, "addresses"> {
  /** In the group, one of each version. */
  readonly addresses: LinkEnd["addresses"];
  /** Tells its own guest by an ICMP error; the caller drops the request after it. */
  unreachable(flow: FlowAddress, code: "host"): void;
  /** That it may have at a time. */
  readonly connections: number;
}

/** The others of a group, and itself. */
export interface Members {
  at(address: IpAddress): GroupMember | undefined;
  named(name: string): GroupMember | undefined;
  leave(member: GroupMember): void;
}

/** By this name every sandbox knows itself alone. */
const OWN_NAME = "localhost";
const MAX_TOLD = 1024;

export class GroupMember implements Disposable {
  readonly fellow: Fellow;
  readonly #options: MemberOptions;
  readonly #members: Members;
  readonly #networks: readonly IpPrefix[];
  readonly #opened = new Set<FellowTcp | FellowUdp>();
  /** Those of fellows. */
  readonly #taken = { tcp: new Set<FellowTcp>(), udp: new Set<FellowUdp>() };
  readonly #told = new Set<string>();
  #connections: number;

  /** Made by its group only. */
  constructor(options: MemberOptions, members: Members) {
    this.#options = options;
    this.#members = members;
    this.#connections = options.connections;
    this.fellow = { ...options, addresses: options.addresses.map(({ address }) => address) };
    this.#networks = options.addresses.map(({ address, prefix }) => IpPrefix.around(address, prefix));
  }

  /** Flows that are open, whoever opened them. */
  get size(): number {
    return this.#opened.size + this.#taken.tcp.size + this.#taken.udp.size;
  }

  /** Whether the address is one of the group's network, whoever has it. */
  covers(address: IpAddress): boolean {
    return this.#networks.some((network) => network.contains(address));
  }

  /** Its guest asks a fellow for a connection. */
  tcp(request: GuestRequest): void {
    const callee = this.#members.at(request.destination);
    if (callee === undefined) {
      this.#tellNobody("tcp", request);
      this.#options.unreachable(request, "host");
      request.drop();
      return;
    }
    const passage = new Passage(this.fellow, callee.fellow, "tcp", request);
    if (this.#refuse(passage, callee, "tcp")) request.reset();
    else void this.#keep(new FellowTcp(request, passage), callee, callee.#taken.tcp);
  }

  /** Its guest sends a fellow the first datagram of a flow. */
  udp(flow: GuestDatagrams): void {
    const callee = this.#members.at(flow.destination);
    if (callee === undefined) {
      this.#tellNobody("udp", flow);
      // Of "host unreachable" Linux tells no UDP socket.
      flow.unreachable("prohibited");
      flow.close();
      return;
    }
    const passage = new Passage(this.fellow, callee.fellow, "udp", flow);
    if (this.#refuse(passage, callee, "udp")) {
      flow.unreachable("prohibited");
      flow.close();
    } else void this.#keep(new FellowUdp(flow, passage), callee, callee.#taken.udp);
  }

  /** Echo of a fellow is answered in its name, where both would let it through. */
  echo(destination: IpAddress): "answer" | "host" | "prohibited" {
    if (!this.covers(destination)) return "prohibited";
    const callee = this.#members.at(destination);
    if (callee === undefined) return "host";
    const question = this.#questionTo(callee, { protocol: "icmp", address: destination });
    return this.#explain(question, callee).verdict.allowed ? "answer" : "prohibited";
  }

  /** What would become of a connection to or from a fellow; undefined for other addresses. */
  explain({ direction, protocol, address, port }: Omit<Question, "names">): Explanation | undefined {
    const other = this.#members.at(address);
    if (other === undefined || other === this) return undefined;
    const at = { protocol, port, address };
    if (direction === "egress") return this.#explain(this.#questionTo(other, at), other);
    const own = addressOf(this.fellow, address.version);
    return other.#explain(other.#questionTo(this, { ...at, address: own }), this);
  }

  /** Another limit, from now on; what is open stays. */
  limitConnections(connections: number): void {
    this.#connections = connections;
  }

  /** What its rules are now: flows that they do not let through are closed. */
  recheck(): void {
    this.#told.clear();
    for (const flow of this.#all()) flow.recheck();
  }

  /** `db` and `db.group.internal`, of all that are there. */
  readonly names: LocalNames = {
    addressesOf: (name) => {
      const suffix = `.${GROUP_ZONE}`;
      if (name === OWN_NAME) return undefined;
      const label = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
      return this.#members.named(label)?.fellow.addresses;
    },
    nameOf: (address) => {
      const member = this.#members.at(address);
      return member && namesOf(member.fellow)[0];
    },
  };

  /** It is gone for its fellows: connections with it are reset, its name is nobody's. */
  [Symbol.dispose](): void {
    this.#members.leave(this);
    for (const flow of this.#all()) flow.close(`the network of ${this.fellow.name} was closed`);
  }

  /** True if it does not pass; who has to know of it does then. */
  #refuse(passage: Passage, callee: GroupMember, protocol: "tcp" | "udp"): boolean {
    const refusal = this.#fullness(callee, protocol) ?? passage.refusal();
    if (refusal === undefined) return false;
    const { flow } = passage;
    const key = `${flow.source.text} ${flow.destinationPort} ${refusal.verdict.rule}`;
    passage.refused(refusal, refusal.by === "callee" && callee.#tellsOf(key));
    return true;
  }

  #fullness(callee: GroupMember, protocol: "tcp" | "udp"): Refusal | undefined {
    const full = (by: Refusal["by"], { name }: Fellow): Refusal => ({
      by,
      verdict: { rule: "limit", reason: `${name} has as many connections with its group as it may have` },
    });
    if (this.#opened.size >= this.#connections) return full("caller", this.fellow);
    const all = protocol === "tcp" ? callee.#connections : Math.min(callee.#connections, UDP_LIMITS.flows);
    if (callee.#taken[protocol].size >= Math.ceil(all / 2)) return full("callee", callee.fellow);
    return undefined;
  }

  #tellsOf(attempt: string): boolean {
    if (this.#told.has(attempt) || this.#told.size === MAX_TOLD) return false;
    this.#told.add(attempt);
    return true;
  }

  async #keep<Flow extends FellowTcp | FellowUdp>(
    flow: Flow,
    callee: GroupMember,
    taken: Set<Flow>,
  ): Promise<void> {
    this.#opened.add(flow);
    taken.add(flow);
    callee.fellow.visited?.();
    await flow.run();
    this.#opened.delete(flow);
    taken.delete(flow);
  }

  #all(): (FellowTcp | FellowUdp)[] {
    return [...this.#opened, ...this.#taken.tcp, ...this.#taken.udp];
  }

  #questionTo(callee: GroupMember, at: Pick<Question, "protocol" | "address" | "port">): Question {
    return { ...at, direction: "egress", names: namesOf(callee.fellow), group: true };
  }

  /** Both ends together; where the callee denies, it decided. */
  #explain(question: Question, callee: GroupMember): Explanation {
    const egress = this.fellow.policy().explain(question);
    if (!egress.verdict.allowed) return egress;
    const { fellow } = callee;
    const ingress = fellow.policy().explain({
      ...question,
      direction: "ingress",
      address: addressOf(this.fellow, question.address.version),
      names: namesOf(this.fellow),
    });
    const of = (name: string) => (step: Explanation["steps"][number]) => ({
      ...step,
      rule: `${name}: ${step.rule}`,
    });
    const steps = [...egress.steps.map(of(this.fellow.name)), ...ingress.steps.map(of(fellow.name))];
    if (ingress.verdict.allowed) return { ...egress, steps };
    const { verdict } = ingress;
    const reason = `${fellow.name} does not let it in: ${verdict.reason}`;
    return { ...egress, steps, verdict: { ...verdict, reason } };
  }

  /** Nobody of the group has that address. */
  #tellNobody(protocol: "tcp" | "udp", { destination, destinationPort }: FlowAddress): void {
    const subject = { protocol, address: destination, port: destinationPort, names: [] } as const;
    new Audit({ direction: "egress", ...subject }, (record) => this.fellow.audit?.(record)).end({
      allowed: false,
      rule: "address",
      reason: "no sandbox of the group that runs has this address",
    });
  }
}
