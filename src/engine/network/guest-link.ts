import { IpAddress } from "../../contract/ip-address.ts";

/**
 * One sandbox's link: who is on it, as the sandbox's machine and its agent are told before anything is sent. There are two ends, the
 * guest's and ours, and ours answers for every address but the guest's own.
 */
export interface GuestLink {
  /** Largest IP packet, bytes. */
  mtu: number;
  guest: LinkEnd;
  /**
   * The guest's addresses within its group, one of each version; none where it is in no group. Fellows are found at the gateway's
   * MAC: there is nobody else on the link.
   */
  group?: LinkEnd["addresses"] | undefined;
  /** The gateway; also the DNS server. */
  gateway: LinkEnd;
  /** Addresses that stand for the host's own; at the gateway's MAC. */
  host: IpAddress[];
}

export interface LinkEnd {
  /** Six pairs of lower-case hex digits between colons. */
  mac: string;
  /** One of each version. */
  addresses: { address: IpAddress; prefix: number }[];
}

/**
 * The link of a sandbox of a template that is in no group. All have the same addresses, since nothing of them is routed anywhere; so the
 * guest has them configured when a template is stored. One of a pool, or that began with a stored state, has its own: `numberedLink`.
 */
export const LONE_LINK: GuestLink = {
  // Of 1500, 9000, 15800, 32000 and 65520, each built in turn, the fastest out of and into a guest over eight TCP connections under
  // emulation. Beyond about 15,900 a frame takes more than four pages in a row, which a guest whose memory is in pieces may not
  // have: it drops it.
  mtu: 15_800,
  guest: { mac: "02:6d:73:62:00:02", addresses: pair("10.209.0.2", "fd6d:7362::2") },
  gateway: { mac: "02:6d:73:62:00:01", addresses: pair("10.209.0.1", "fd6d:7362::1") },
  host: [IpAddress.parse("10.209.0.254")!, IpAddress.parse("fd6d:7362::fe")!],
};

/** Members of a group have numbers, which are the last part of their addresses. */
export const GROUP_NUMBERS = { first: 2, last: 4094 };

/**
 * The link of a sandbox in a group: that of a lone one, so that the same template serves it, and two addresses more. Every group has
 * the same network, 10.210.0.0/20 and fd6d:7363::/64, and none leads into another.
 */
export function groupLink(number: number): GuestLink {
  const { first, last } = GROUP_NUMBERS;
  if (!Number.isInteger(number) || number < first || number > last)
    throw new RangeError(`${number} is no number of a group's member`);
  const group = pair(`10.210.${number >>> 8}.${number & 0xff}`, `fd6d:7363::${number.toString(16)}`, 20);
  return { ...LONE_LINK, group };
}

/** Sandboxes that were restored from a state, and those of a pool, have numbers, so that no two of them share an address. */
export const LINK_NUMBERS = { first: 256, last: 65_279 };

/**
 * The link of a sandbox that began as another one, or of a member of a group that did: that of a lone one, with a MAC and addresses of its own.
 * @param group the number of a group's member
 */
export function numberedLink(number: number, group?: number): GuestLink {
  const { first, last } = LINK_NUMBERS;
  if (!Number.isInteger(number) || number < first || number > last)
    throw new RangeError(`${number} is no number of a link`);
  const [high, low] = [number >>> 8, number & 0xff];
  const hex = (byte: number) => byte.toString(16).padStart(2, "0");
  return {
    ...(group === undefined ? LONE_LINK : groupLink(group)),
    guest: {
      mac: `02:6d:73:63:${hex(high)}:${hex(low)}`,
      addresses: pair(`10.209.${high}.${low}`, `fd6d:7362::${number.toString(16)}`, 16),
    },
  };
}

function pair(v4: string, v6: string, prefix4 = 24): LinkEnd["addresses"] {
  return [
    { address: IpAddress.parse(v4)!, prefix: prefix4 },
    { address: IpAddress.parse(v6)!, prefix: 64 },
  ];
}
