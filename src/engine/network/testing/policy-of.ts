import { IpAddress } from "../../../contract/ip-address.ts";
import { IpPrefix } from "../../../contract/ip-prefix.ts";
import type { NetworkScope } from "../../../contract/network.ts";
import { parseTarget } from "../../../contract/network-rule.ts";
import { NetworkPolicy, type Question } from "../policy/policy.ts";

/** The world of the tests: a host that is 192.168.1.5 and 2a00:1450::5, and a NAT64 of its own. */
export const surroundings = {
  hostAddresses: () => new Set(["192.168.1.5", "93.184.216.99", "2a00:1450::5"]),
  ownNetworks: [IpPrefix.parse("10.209.0.0/24")!, IpPrefix.parse("fd6d:7362::/64")!],
  translators: () => [IpPrefix.parse("2a01:4f8:64::/96")!],
};

export function policyOf(
  scope: NetworkScope,
  rules: string[] = [],
  sets: Record<string, string[]> = {},
): NetworkPolicy {
  const parsed = new Map(Object.entries(sets).map(([name, targets]) => [name, targets.map(parseTarget)]));
  return new NetworkPolicy({ scope, rules, sets: parsed, surroundings });
}

export const ip = (text: string): IpAddress => IpAddress.parse(text)!;

/** A connection of the guest over TCP to port 443, unless said otherwise. */
export function egress(address: string, over: Partial<Omit<Question, "address">> = {}): Question {
  return { direction: "egress", protocol: "tcp", address: ip(address), port: 443, names: [], ...over };
}
