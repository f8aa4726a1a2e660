/**
 * Neighbour discovery (RFC 4861) as the bodies of ICMPv6 messages: what a guest asks, and what a gateway answers. Reading copies
 * nothing and never throws. Bounds: options are gone through once, each takes at least 8 bytes.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import { writeUint16, writeUint32 } from "./big-endian.ts";
import { MAC_BYTES } from "./ethernet.ts";
import type { IcmpMessage } from "./icmp.ts";

export const NDP_TYPE = {
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighbourSolicitation: 135,
  neighbourAdvertisement: 136,
  redirect: 137,
} as const;

/** Whoever receives one with less knows that it came from beyond the link. */
export const NDP_HOP_LIMIT = 255;

const OPTION = { sourceMac: 1, targetMac: 2, prefix: 3, mtu: 5, dnsServers: 25 };
const OPTION_UNIT = 8;
const FLAG_BYTES = 4;
const ADDRESS_BYTES = 16;

export interface NeighbourSolicitation {
  target: IpAddress;
}

/** Undefined if it is cut off or its options are malformed, of which RFC 4861, 7.1.1 says to drop all. */
export function parseNeighbourSolicitation(message: IcmpMessage): NeighbourSolicitation | undefined {
  const { rest } = message;
  if (message.code !== 0 || rest.length < FLAG_BYTES + ADDRESS_BYTES) return undefined;
  if (!optionsHold(rest.subarray(FLAG_BYTES + ADDRESS_BYTES))) return undefined;
  return { target: new IpAddress(rest.subarray(FLAG_BYTES, FLAG_BYTES + ADDRESS_BYTES)) };
}

/** Whether a router solicitation may be answered (RFC 4861, 6.1.1). */
export function isRouterSolicitation(message: IcmpMessage): boolean {
  return message.code === 0 && optionsHold(message.rest.subarray(FLAG_BYTES));
}

function optionsHold(options: Uint8Array): boolean {
  let at = 0;
  while (at + 1 < options.length) {
    const length = options[at + 1]! * OPTION_UNIT;
    if (length === 0) return false;
    at += length;
  }
  return at === options.length;
}

export interface NeighbourAdvertisement {
  target: IpAddress;
  mac: Uint8Array;
  router: boolean;
  /** Whether somebody asked for it. */
  solicited: boolean;
}

export function neighbourAdvertisement(fields: NeighbourAdvertisement): IcmpMessage {
  const rest = new Uint8Array(FLAG_BYTES + ADDRESS_BYTES + OPTION_UNIT);
  const override = 0x20;
  rest[0] = (fields.router ? 0x80 : 0) | (fields.solicited ? 0x40 : 0) | override;
  rest.set(fields.target.bytes, FLAG_BYTES);
  macOption(rest, FLAG_BYTES + ADDRESS_BYTES, OPTION.targetMac, fields.mac);
  return { type: NDP_TYPE.neighbourAdvertisement, code: 0, rest };
}

export interface RouterAdvertisement {
  mac: Uint8Array;
  mtu: number;
  hopLimit: number;
  /** How long this router may be used, seconds; also for what is said in options. */
  lifetimeS: number;
  /** Addresses that are on the link. */
  prefix: { address: IpAddress; length: number };
  dnsServers: readonly IpAddress[];
}

/**
 * The prefix is said to be on the link, and not to be one to make addresses of (RFC 4862): a sandbox has the address it was
 * given, and whatever it sends from another is dropped.
 */
export function routerAdvertisement(fields: RouterAdvertisement): IcmpMessage {
  const dnsUnits = 1 + 2 * fields.dnsServers.length;
  const fixed = 12;
  const rest = new Uint8Array(fixed + OPTION_UNIT * (1 + 1 + 4 + dnsUnits));
  rest[0] = fields.hopLimit;
  writeUint16(rest, 2, fields.lifetimeS);
  let at = fixed;
  macOption(rest, at, OPTION.sourceMac, fields.mac);
  at += OPTION_UNIT;
  rest[at] = OPTION.mtu;
  rest[at + 1] = 1;
  writeUint32(rest, at + 4, fields.mtu);
  at += OPTION_UNIT;
  prefixOption(rest, at, fields);
  at += 4 * OPTION_UNIT;
  // RFC 8106, 5.1.
  rest[at] = OPTION.dnsServers;
  rest[at + 1] = dnsUnits;
  writeUint32(rest, at + 4, fields.lifetimeS);
  for (const [i, server] of fields.dnsServers.entries())
    rest.set(server.bytes, at + OPTION_UNIT + i * ADDRESS_BYTES);
  return { type: NDP_TYPE.routerAdvertisement, code: 0, rest };
}

function prefixOption(rest: Uint8Array, at: number, { prefix, lifetimeS }: RouterAdvertisement): void {
  const onLink = 0x80;
  rest[at] = OPTION.prefix;
  rest[at + 1] = 4;
  rest[at + 2] = prefix.length;
  rest[at + 3] = onLink;
  writeUint32(rest, at + 4, lifetimeS);
  writeUint32(rest, at + 8, lifetimeS);
  for (let bit = 0; bit < prefix.length; bit += 8) {
    const mask = prefix.length - bit >= 8 ? 0xff : (0xff00 >>> (prefix.length - bit)) & 0xff;
    rest[at + 16 + bit / 8] = prefix.address.bytes[bit / 8]! & mask;
  }
}

function macOption(rest: Uint8Array, at: number, type: number, mac: Uint8Array): void {
  rest[at] = type;
  rest[at + 1] = 1;
  rest.set(mac.subarray(0, MAC_BYTES), at + 2);
}
