import type { IpAddress } from "../../../contract/ip-address.ts";

/** Protocol numbers, which IPv6 calls next headers (IANA, "Protocol Numbers"). */
export const PROTOCOL = { icmp: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58 } as const;

export const IPV4_HEADER = 20;
export const IPV6_HEADER = 40;

/** What IPv4 and IPv6 packets have in common, once they are read. All bytes are parts of the frame. */
export interface IpPacket {
  source: IpAddress;
  destination: IpAddress;
  /** What the payload is. */
  protocol: number;
  /** Where in `header` that is said: errors about it point there. */
  protocolAt: number;
  /** Time to live, hop limit. */
  hopLimit: number;
  /** Everything before the payload, options and extension headers included: errors quote it. */
  header: Uint8Array;
  payload: Uint8Array;
  /** If the payload is only a piece. */
  fragment: Fragment | undefined;
}

export interface Fragment {
  identification: number;
  /** Of the piece in the whole payload, bytes. */
  offset: number;
  /** Whether it is not the last one. */
  more: boolean;
}

/** Multicast of either version, or the IPv4 broadcast to everybody: no one answers such a packet with an error. */
export function isMulticast(address: IpAddress): boolean {
  const first = address.bytes[0]!;
  if (address.version === 6) return first === 0xff;
  // What lies between, 240.0.0.0/4, is reserved and unicast (RFC 1112, 4).
  return (first >= 224 && first < 240) || address.bytes.every((byte) => byte === 0xff);
}

export function isUnspecified(address: IpAddress): boolean {
  return address.bytes.every((byte) => byte === 0);
}

/** fe80::/10. */
export function isLinkLocal(address: IpAddress): boolean {
  return address.version === 6 && address.bytes[0] === 0xfe && (address.bytes[1]! & 0xc0) === 0x80;
}
