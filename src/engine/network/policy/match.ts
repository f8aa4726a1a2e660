import { nameMatches } from "../../../contract/domain-name.ts";
import type { IpAddress } from "../../../contract/ip-address.ts";
import type { Protocol } from "../../../contract/network-ports.ts";
import type { NetworkRule, NetworkTarget } from "../../../contract/network-rule.ts";
import { ENCRYPTED_DNS_ADDRESSES, ENCRYPTED_DNS_NAMES, ENCRYPTED_DNS_PORT } from "./encrypted-dns.ts";
import type { Place, PlaceKind } from "./place.ts";

/**
 * Whether a target is for a connection. An allowing rule is read narrowly and a denying one widely: `allow egress any` opens
 * ordinary addresses and not the host, `deny egress any` is for all there is.
 */

export interface Peer {
  direction: "egress" | "ingress";
  protocol: Protocol;
  address: IpAddress;
  port?: number | undefined;
  place: Place;
  /** Canonical. */
  names: readonly string[];
}

/** What `any` opens for a connection outwards. */
const ORDINARY: ReadonlySet<PlaceKind> = new Set<PlaceKind>(["public", "private", "group"]);
/** What an allowing block opens only as a block of one. */
const NAMED_ALONE: ReadonlySet<PlaceKind> = new Set<PlaceKind>(["host", "metadata"]);

/** Targets of a set stand in for it. */
export type PlainTarget = Exclude<NetworkTarget, { kind: "set" }>;

export function targetMatches(
  target: PlainTarget,
  rule: Pick<NetworkRule, "action" | "ports">,
  peer: Peer,
): boolean {
  const allow = rule.action === "allow";
  const { kind } = peer.place;
  switch (target.kind) {
    case "any":
      return !allow || peer.direction === "ingress" || ORDINARY.has(kind);
    case "prefix":
      if (!allow) return [peer.address, ...peer.place.embedded].some((each) => target.prefix.contains(each));
      return target.prefix.contains(peer.address) && (target.prefix.single || !NAMED_ALONE.has(kind));
    case "domain":
      if (!peer.names.some((name) => nameMatches(name, target.pattern))) return false;
      return !allow || (kind === "public" && !isUnreadQuic(rule, peer));
    case "encrypted-dns":
      return isEncryptedDns(peer) && (!allow || kind === "public");
    default:
      return target.kind === kind;
  }
}

/** The names of a rule for a name are in the clear in TLS and HTTP, and not in QUIC: its first packets are not looked into. */
export function isUnreadQuic(
  rule: Pick<NetworkRule, "ports">,
  peer: Pick<Peer, "protocol" | "port">,
): boolean {
  if (peer.protocol !== "udp" || peer.port !== 443) return false;
  return !rule.ports.some(({ protocol, range }) => protocol === "udp" && range !== undefined);
}

function isEncryptedDns({ port, protocol, names, address }: Peer): boolean {
  if (protocol === "icmp") return false;
  if (port === ENCRYPTED_DNS_PORT) return true;
  if (port === 443 && ENCRYPTED_DNS_ADDRESSES.has(address.text)) return true;
  return names.some(isEncryptedDnsName);
}

export function isEncryptedDnsName(name: string): boolean {
  return ENCRYPTED_DNS_NAMES.some((pattern) => nameMatches(name, pattern));
}
