import { IpAddress } from "../../../contract/ip-address.ts";
import { mayAnswer } from "../policy/name-policy.ts";
import type { NetworkPolicy } from "../policy/policy.ts";
import { RCODE, TYPE } from "./record-types.ts";
import { reverseAddress } from "./reverse-name.ts";

/**
 * Names that are answered here and never asked for outside: the host's and the group's, loopback, and what the world's DNS does
 * not know but a host's network might (RFC 6761, 6762, 6303, 7686).
 */

/** Names that the gateway itself gives. */
export interface LocalNames {
  /** `name` is canonical. Undefined: not ours. */
  addressesOf(name: string): readonly IpAddress[] | undefined;
  nameOf(address: IpAddress): string | undefined;
}

export interface LocalAnswer {
  rcode: number;
  addresses: readonly IpAddress[];
  /** The answer of a PTR question. */
  pointer?: string;
  why: string;
}

/** Names whose last labels are these are nobody's outside of one network, or have another protocol. */
const NOT_THERE = ["local", "onion", "invalid", "resolver.arpa", "home.arpa"];
const LOOPBACK = [IpAddress.parse("127.0.0.1")!, IpAddress.parse("::1")!];
/** Of these resolvers that check signatures ask at the topmost names. */
const FOR_SIGNATURES: ReadonlySet<number> = new Set([TYPE.DS, TYPE.DNSKEY]);

/** Undefined: the name is to be asked for outside. */
export function localAnswer(
  name: string,
  type: number,
  local: LocalNames,
  policy: NetworkPolicy,
): LocalAnswer | undefined {
  const addresses = local.addressesOf(name);
  if (addresses !== undefined) return { rcode: RCODE.NOERROR, addresses, why: "a name of the gateway" };
  if (isUnder(name, "localhost"))
    return { rcode: RCODE.NOERROR, addresses: LOOPBACK, why: "the sandbox itself" };
  const nothing = (why: string): LocalAnswer => ({ rcode: RCODE.NXDOMAIN, addresses: [], why });
  if (isUnder(name, "microsandbox.internal") || isUnder(name, "group.internal"))
    return nothing("no such sandbox");
  const zone = NOT_THERE.find((each) => isUnder(name, each));
  if (zone !== undefined) return nothing(`names under ${zone} are not asked for outside`);
  if (!name.includes(".") && !FOR_SIGNATURES.has(type))
    return nothing("names of one label are not asked for outside");
  const reverse = reverseAddress(name);
  if (reverse === undefined) return undefined;
  const pointer = local.nameOf(reverse);
  if (pointer !== undefined)
    return { rcode: RCODE.NOERROR, addresses: [], pointer, why: "a name of the gateway" };
  return mayAnswer(policy, reverse) ? undefined : nothing("the address is not one that this sandbox reaches");
}

function isUnder(name: string, zone: string): boolean {
  return name === zone || name.endsWith(`.${zone}`);
}
