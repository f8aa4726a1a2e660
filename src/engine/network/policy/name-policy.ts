import { nameMatches } from "../../../contract/domain-name.ts";
import type { IpAddress } from "../../../contract/ip-address.ts";
import { CANARY_NAME } from "./encrypted-dns.ts";
import { isEncryptedDnsName, targetMatches } from "./match.ts";
import { placeOf } from "./place.ts";
import type { CompiledRule, NetworkPolicy, Verdict } from "./policy.ts";
import { EGRESS_BY_SCOPE } from "./scope.ts";

/**
 * What the rules mean for questions about names. A question leaves the host, and its letters can carry data out: a name that no
 * connection could be made to is not asked for. An address that no connection could be made to is not told.
 */

/**
 * Whether the name may be asked for at all; with its `aliases`, whether the answer may be told: a rule that denies one of those
 * counts, while a rule that allows counts for the name that was asked for alone.
 */
export function decideName(policy: NetworkPolicy, name: string, aliases: readonly string[] = []): Verdict {
  const verdict = (allowed: boolean, rule: string): Verdict => ({
    allowed,
    rule,
    reason: `the name ${name} is ${allowed ? "allowed" : "denied"} by ${rule.startsWith("scope ") ? `the ${rule}` : `the rule '${rule}'`}`,
  });
  /** Kinds of addresses that no later rule opens, and what closed them. */
  const closed = new Map<string, string>();
  for (const rule of policy.rules) {
    if (rule.direction !== "egress") continue;
    const allow = rule.action === "allow";
    const counting = allow ? [name] : [name, ...aliases];
    if (rule.targets.some((target) => counting.some((each) => namesIt(target, each, rule.action)))) {
      if (allow || rule.ports.length === 0) return verdict(allow, rule.text);
      continue;
    }
    for (const { kind } of rule.targets) {
      const kinds = kind === "any" ? RESOLVED : RESOLVED.filter((each) => each === kind);
      // What a block holds may be what some name answers with.
      if (allow && (kind === "prefix" || kinds.some((each) => !closed.has(each))))
        return verdict(true, rule.text);
      if (!allow && rule.ports.length === 0)
        for (const each of kinds) if (!closed.has(each)) closed.set(each, rule.text);
    }
  }
  const inScope = RESOLVED.filter((kind) => EGRESS_BY_SCOPE[policy.scope].has(kind));
  if (inScope.some((kind) => !closed.has(kind))) return verdict(true, `scope ${policy.scope}`);
  return verdict(false, closed.get("public") ?? `scope ${policy.scope}`);
}

/** What names of the world's DNS answer with. */
const RESOLVED = ["public", "private"] as const;

function namesIt(target: CompiledRule["targets"][number], name: string, action: "allow" | "deny"): boolean {
  if (target.kind === "domain") return nameMatches(name, target.pattern);
  if (target.kind !== "encrypted-dns") return false;
  return isEncryptedDnsName(name) || (action === "deny" && name === CANARY_NAME);
}

/** Whether the address may be told as an answer. A name never opens what is not public: a rule for the address must. */
export function mayAnswer(policy: NetworkPolicy, address: IpAddress): boolean {
  const place = placeOf(address, policy.surroundings);
  if (place.kind === "never") return false;
  if (place.kind === "public") return true;
  const peer = { direction: "egress", protocol: "tcp", address, place, names: [] } as const;
  for (const rule of policy.rules) {
    if (rule.direction !== "egress") continue;
    if (!rule.targets.some((target) => targetMatches(target, rule, peer))) continue;
    if (rule.action === "allow") return true;
    if (rule.ports.length === 0) return false;
  }
  return EGRESS_BY_SCOPE[policy.scope].has(place.kind);
}

/** Whether rules look at names, so that names must not be hidden from the gateway. */
export function namesMatter(policy: NetworkPolicy): boolean {
  return policy.rules.some((rule) =>
    rule.targets.some(({ kind }) => kind === "domain" || kind === "encrypted-dns"),
  );
}
