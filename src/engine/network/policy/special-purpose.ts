import { IpPrefix } from "../../../contract/ip-prefix.ts";

/**
 * What IANA's special-purpose registries say of blocks of addresses, put into the few classes that rules speak of.
 *
 * https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry,
 * and for multicast RFC 5771 and RFC 4291. The longest matching block decides. Where the registry calls a few addresses inside
 * of a special block reachable (anycast of PCP, TURN, AMT and AS112 under 192.0.0.0/24 and 2001::/23), the block counts: it is
 * nothing that a sandbox needs, and the stricter reading cannot leak.
 */

export type AddressClass =
  /** Globally reachable unicast. */
  | "public"
  /** Somebody's own network: RFC 1918, unique local, shared (CGNAT). */
  | "private"
  | "link-local"
  /** An IPv6 address that carries an IPv4 address, which a translator or tunnel would send on to. */
  | "translated"
  /** Documentation, benchmarks, reserved: nothing answers there, or nobody knows who does. */
  | "special"
  /** No destination of a connection through the gateway, whatever the rules: loopback, multicast, unspecified, mapped. */
  | "never";

export interface Block {
  prefix: IpPrefix;
  class: AddressClass;
  /** Its name in the registry. */
  name: string;
  /** Where it is defined. */
  source: string;
}

const block = (prefix: string, of: AddressClass, name: string, source: string): Block => ({
  prefix: IpPrefix.parse(prefix)!,
  class: of,
  name,
  source,
});

export const IPV4_BLOCKS: readonly Block[] = [
  block("0.0.0.0/0", "public", "global unicast", "RFC 791"),
  block("0.0.0.0/8", "never", "this network", "RFC 791"),
  block("10.0.0.0/8", "private", "private use", "RFC 1918"),
  block("100.64.0.0/10", "private", "shared address space (CGNAT)", "RFC 6598"),
  block("127.0.0.0/8", "never", "loopback", "RFC 1122"),
  block("169.254.0.0/16", "link-local", "link local", "RFC 3927"),
  block("172.16.0.0/12", "private", "private use", "RFC 1918"),
  block("192.0.0.0/24", "special", "IETF protocol assignments", "RFC 6890"),
  block("192.0.2.0/24", "special", "documentation", "RFC 5737"),
  block("192.31.196.0/24", "public", "AS112", "RFC 7535"),
  block("192.52.193.0/24", "public", "AMT", "RFC 7450"),
  block("192.88.99.0/24", "special", "6to4 relay anycast, deprecated", "RFC 7526"),
  block("192.168.0.0/16", "private", "private use", "RFC 1918"),
  block("192.175.48.0/24", "public", "AS112 direct delegation", "RFC 7534"),
  block("198.18.0.0/15", "special", "benchmarking", "RFC 2544"),
  block("198.51.100.0/24", "special", "documentation", "RFC 5737"),
  block("203.0.113.0/24", "special", "documentation", "RFC 5737"),
  block("224.0.0.0/4", "never", "multicast", "RFC 5771"),
  block("240.0.0.0/4", "special", "reserved", "RFC 1112"),
  block("255.255.255.255/32", "never", "limited broadcast", "RFC 8190"),
];

export const IPV6_BLOCKS: readonly Block[] = [
  // All that is not allocated for unicast is nobody's.
  block("::/0", "special", "not allocated", "RFC 4291"),
  block("2000::/3", "public", "global unicast", "RFC 4291"),
  block("::/96", "never", "IPv4-compatible, deprecated", "RFC 4291"),
  block("::/128", "never", "unspecified", "RFC 4291"),
  block("::1/128", "never", "loopback", "RFC 4291"),
  // Never on a wire (RFC 4038, 4.2): a host's socket would take it for the IPv4 address inside.
  block("::ffff:0:0/96", "never", "IPv4-mapped", "RFC 4291"),
  block("::ffff:0:0:0/96", "translated", "IPv4-translated", "RFC 2765"),
  block("64:ff9b::/96", "translated", "NAT64", "RFC 6052"),
  block("64:ff9b:1::/48", "translated", "NAT64, local use", "RFC 8215"),
  block("100::/64", "special", "discard only", "RFC 6666"),
  block("100:0:0:1::/64", "special", "dummy prefix", "RFC 9780"),
  block("2001::/23", "special", "IETF protocol assignments", "RFC 2928"),
  block("2001::/32", "translated", "Teredo", "RFC 4380"),
  block("2001:2::/48", "special", "benchmarking", "RFC 5180"),
  block("2001:10::/28", "special", "ORCHID, deprecated", "RFC 4843"),
  block("2001:20::/28", "special", "ORCHIDv2", "RFC 7343"),
  block("2001:db8::/32", "special", "documentation", "RFC 3849"),
  block("2002::/16", "translated", "6to4", "RFC 3056"),
  block("2620:4f:8000::/48", "public", "AS112 direct delegation", "RFC 7534"),
  block("3fff::/20", "special", "documentation", "RFC 9637"),
  block("5f00::/16", "special", "segment routing identifiers", "RFC 9602"),
  block("fc00::/7", "private", "unique local", "RFC 4193"),
  block("fe80::/10", "link-local", "link local", "RFC 4291"),
  block("fec0::/10", "special", "site local, deprecated", "RFC 3879"),
  block("ff00::/8", "never", "multicast", "RFC 4291"),
];
