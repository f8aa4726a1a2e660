import { SandboxError } from "../../../contract/errors.ts";
import type { IpAddress } from "../../../contract/ip-address.ts";
import type { NetworkScope } from "../../../contract/network.ts";
import { type Protocol, portsMatch } from "../../../contract/network-ports.ts";
import {
  type NetworkRule,
  type NetworkTarget,
  parseRule,
  ruleText,
  targetText,
} from "../../../contract/network-rule.ts";
import { isUnreadQuic, type Peer, type PlainTarget, targetMatches } from "./match.ts";
import { type Place, placeOf, type Surroundings } from "./place.ts";
import { EGRESS_BY_SCOPE } from "./scope.ts";

/**
 * The one place that decides. Rules are tried in their order and the first that matches decides; where none does, the scope
 * does. What no connection may reach (loopback, multicast, …) is denied before any rule is looked at. Immutable: a change of
 * rules makes another policy.
 */

export interface Question {
  /** Egress: the guest connects, `address` is the destination. Ingress: somebody connects to it, `address` is the source. */
  direction: "egress" | "ingress";
  protocol: Protocol;
  address: IpAddress;
  /** The destination's port, in both directions; absent for ICMP. */
  port?: number | undefined;
  /** Canonical names that this sandbox was given for the address. */
  names: readonly string[];
  /** It is the address that stands for the host. */
  host?: boolean | undefined;
  /** It is an address of a fellow in the sandbox's group. */
  group?: boolean | undefined;
}

export interface Verdict {
  allowed: boolean;
  /** The deciding rule, canonical; `scope public` where none did; `address` where no rule could. */
  rule: string;
  /** A sentence that says why. */
  reason: string;
  /**
   * Names in the connection's first bytes count too. `required`: a rule for a name let it through, so TLS and HTTP must agree
   * with it. `advisory`: a rule that denies a name stands before, and would count for a name that is found.
   */
  inspect?: "required" | "advisory";
}

export interface Step {
  rule: string;
  matched: boolean;
  why: string;
}

export interface Explanation {
  verdict: Verdict;
  place: Place;
  /** What was looked at, in order; the last one decided, unless the scope did. */
  steps: Step[];
}

export interface PolicyOptions {
  scope: NetworkScope;
  /** As text or parsed; first match wins. */
  rules: readonly (string | NetworkRule)[];
  /** Named sets of targets. */
  sets?: ReadonlyMap<string, readonly NetworkTarget[]>;
  surroundings: Surroundings;
}

/** A rule with its set put in. */
export interface CompiledRule extends NetworkRule {
  text: string;
  targets: readonly PlainTarget[];
}

export class NetworkPolicy {
  readonly scope: NetworkScope;
  readonly rules: readonly CompiledRule[];
  readonly surroundings: Surroundings;

  /** Throws what parseRule does, and `not_found` for a set that there is not. */
  constructor(options: PolicyOptions) {
    this.scope = options.scope;
    this.surroundings = options.surroundings;
    this.rules = options.rules.map((each) => {
      const rule = typeof each === "string" ? parseRule(each) : each;
      return { ...rule, text: ruleText(rule), targets: expand(rule, options.sets ?? new Map()) };
    });
  }

  decide(question: Question): Verdict {
    return this.#walk(question, this.#placeOf(question), () => {});
  }

  /** What decides and all that was looked at on the way. */
  explain(question: Question): Explanation {
    const steps: Step[] = [];
    const place = this.#placeOf(question);
    const verdict = this.#walk(question, place, (step) => steps.push(step));
    return { verdict, place, steps };
  }

  #placeOf(question: Question): Place {
    if (question.host) return { kind: "host", name: "the host", embedded: [] };
    if (question.group) return { kind: "group", name: "a sandbox of the same group", embedded: [] };
    const place = placeOf(question.address, this.surroundings);
    // A client on the host's loopback is the host.
    if (question.direction === "ingress" && place.kind === "never") return { ...place, kind: "host" };
    return place;
  }

  #walk(question: Question, place: Place, step: (step: Step) => void): Verdict {
    const what = `${question.address.text} (${place.name})`;
    if (this.scope === "none")
      return { allowed: false, rule: "scope none", reason: "the sandbox has no network" };
    if (place.kind === "never")
      return {
        allowed: false,
        rule: "address",
        reason: `${what} is never reached through the gateway, whatever the rules`,
      };
    const peer: Peer = { ...question, place };
    let deniedNames = false;
    for (const rule of this.rules) {
      const why = mismatch(rule, peer);
      step({ rule: rule.text, matched: why === undefined, why: why ?? `is for ${what}` });
      if (why === undefined) return this.#verdictOf(rule, peer, what, deniedNames);
      deniedNames ||= mayDenyByName(rule, peer);
    }
    return this.#verdictOfScope(peer, what, deniedNames);
  }

  #verdictOf(rule: CompiledRule, peer: Peer, what: string, deniedNames: boolean): Verdict {
    if (rule.action === "deny")
      return { allowed: false, rule: rule.text, reason: `${what} is denied by the rule '${rule.text}'` };
    const matching = rule.targets.filter((target) => targetMatches(target, rule, peer));
    const byName = matching.every((target) => target.kind === "domain" || target.kind === "encrypted-dns");
    return {
      allowed: true,
      rule: rule.text,
      reason: `${what} is allowed by the rule '${rule.text}'`,
      ...inspection(byName, deniedNames),
    };
  }

  #verdictOfScope(peer: Peer, what: string, deniedNames: boolean): Verdict {
    const rule = `scope ${this.scope}`;
    const { kind } = peer.place;
    if (peer.direction === "ingress")
      return { allowed: true, rule, reason: "no rule denies connections to this port" };
    if (EGRESS_BY_SCOPE[this.scope].has(kind))
      return {
        allowed: true,
        rule,
        reason: `${what} is within the scope ${this.scope}`,
        ...inspection(false, deniedNames),
      };
    const hint = kind === "metadata" || kind === "host" ? `; it needs a rule 'allow egress ${kind}'` : "";
    return {
      allowed: false,
      rule,
      reason: `${what} is outside of the scope ${this.scope}, and no rule allows it${hint}`,
    };
  }
}

const inspection = (byName: boolean, deniedNames: boolean): Pick<Verdict, "inspect"> => {
  if (byName) return { inspect: "required" };
  return deniedNames ? { inspect: "advisory" } : {};
};

/** Why the rule is not for this connection; undefined if it is. */
function mismatch(rule: CompiledRule, peer: Peer): string | undefined {
  if (rule.direction !== peer.direction) return `is for ${rule.direction}`;
  if (!portsMatch(rule.ports, peer.protocol, peer.port)) {
    const port = peer.port === undefined ? "" : `:${peer.port}`;
    return `is not for ${peer.protocol}${port}`;
  }
  if (rule.targets.some((target) => targetMatches(target, rule, peer))) return undefined;
  return whyNot(rule, peer);
}

function whyNot(rule: CompiledRule, peer: Peer): string {
  const { kind } = peer.place;
  const byName = rule.targets.some((target) => target.kind === "domain");
  if (byName && peer.names.length === 0)
    return "is for a name, and the sandbox was not given this address for any";
  if (byName && rule.action === "allow" && kind !== "public")
    return `is for a name, and a name opens no address that is ${kind}`;
  if (byName && isUnreadQuic(rule, peer))
    return "is for a name, which QUIC hides: only 'udp:443' in the rule opens it";
  if (byName) return `is not for ${peer.names.slice(0, 3).join(", ")}`;
  return `is for ${targetText(rule.target)}, and the address is ${kind}`;
}

/** The rule would deny this connection if its name were known. */
function mayDenyByName(rule: CompiledRule, peer: Peer): boolean {
  if (rule.action !== "deny" || rule.direction !== peer.direction) return false;
  if (peer.protocol !== "tcp" || !portsMatch(rule.ports, peer.protocol, peer.port)) return false;
  return rule.targets.some((target) => target.kind === "domain" || target.kind === "encrypted-dns");
}

function expand(rule: NetworkRule, sets: ReadonlyMap<string, readonly NetworkTarget[]>): PlainTarget[] {
  if (rule.target.kind !== "set") return [rule.target];
  const targets = sets.get(rule.target.name);
  if (targets === undefined)
    throw new SandboxError(
      "not_found",
      `there is no set @${rule.target.name}, which the network rule '${ruleText(rule)}' names`,
      {
        hint:
          sets.size === 0
            ? "sets are written in network.json"
            : `there is ${[...sets.keys()]
                .slice(0, 8)
                .map((name) => `@${name}`)
                .join(", ")}`,
      },
    );
  return targets.flatMap((target) => (target.kind === "set" ? [] : [target]));
}
