import { IpAddress } from "../../../contract/ip-address.ts";
import { IpPrefix } from "../../../contract/ip-prefix.ts";

/**
 * The IPv4 addresses that an IPv6 address carries. A translator (NAT64) or tunnel (6to4, Teredo, ISATAP) in the host's network
 * would send the packet on to them, so an address that carries `10.0.0.1` is a way to `10.0.0.1`. One address may be read in
 * several ways; all are given.
 */

/** Where RFC 6052, 2.2 puts the four bytes, by the length of the translator's prefix. Byte 8 is always zero and skipped. */
const RFC6052: Record<number, readonly number[]> = {
  32: [4, 5, 6, 7],
  40: [5, 6, 7, 9],
  48: [6, 7, 9, 10],
  56: [7, 9, 10, 11],
  64: [9, 10, 11, 12],
  96: [12, 13, 14, 15],
};
const LAST = RFC6052[96]!;

interface Form {
  prefix: IpPrefix;
  at: readonly (readonly number[])[];
  inverted?: boolean;
  nat64?: boolean;
}

const FORMS: readonly Form[] = [
  { prefix: IpPrefix.parse("::ffff:0:0/96")!, at: [LAST] },
  { prefix: IpPrefix.parse("::ffff:0:0:0/96")!, at: [LAST] },
  { prefix: IpPrefix.parse("64:ff9b::/96")!, at: [LAST], nat64: true },
  // RFC 8215: the operator chooses prefixes of any length inside, so that one address reads in several ways.
  {
    prefix: IpPrefix.parse("64:ff9b:1::/48")!,
    at: [RFC6052[48]!, RFC6052[56]!, RFC6052[64]!, LAST],
    nat64: true,
  },
  { prefix: IpPrefix.parse("2002::/16")!, at: [[2, 3, 4, 5]] },
  // RFC 4380, 4: the server's address as it is, the client's with its bits flipped.
  { prefix: IpPrefix.parse("2001::/32")!, at: [[4, 5, 6, 7]] },
  { prefix: IpPrefix.parse("2001::/32")!, at: [LAST], inverted: true },
];

/** Where an IPv4 address may stand behind a NAT64 prefix of `length` bits, as its bytes; undefined for a length that none has. */
export const nat64Bytes = (length: number): readonly number[] | undefined => RFC6052[length];
export const NAT64_LENGTHS: readonly number[] = Object.keys(RFC6052).map(Number);

/**
 * What the translators of the host's network, whose prefixes these are, send this address on to. Empty where none of them would.
 */
export function translatedTo(address: IpAddress, translators: readonly IpPrefix[]): IpAddress[] {
  return translators.flatMap((prefix) => {
    const at = RFC6052[prefix.length];
    return at !== undefined && prefix.contains(address) ? [bytesAt(address, at)] : [];
  });
}

/** `translators` are NAT64 prefixes that the host's network is known to have. Empty for IPv4 and for what carries none. */
export function embeddedAddresses(address: IpAddress, translators: readonly IpPrefix[] = []): IpAddress[] {
  if (address.version === 4) return [];
  const translated = translatedTo(address, translators);
  const found: IpAddress[] = [...translated];
  const take = (at: readonly number[], flip = 0) => found.push(bytesAt(address, at, flip));
  // Where the zeros around another layout are read as an address, it is one that no translator sends to.
  const isAddress = (at: readonly number[]) => address.bytes[at[0]!] !== 0;
  // A known translator leaves nothing to guess about how its own addresses are read.
  for (const form of FORMS)
    if (form.prefix.contains(address) && !(form.nat64 && translated.length > 0))
      for (const at of form.at) if (form.at.length === 1 || isAddress(at)) take(at, form.inverted ? 0xff : 0);
  if (isIsatap(address)) take(LAST);
  return found;
}

const bytesAt = (address: IpAddress, at: readonly number[], flip = 0): IpAddress =>
  new IpAddress(Uint8Array.from(at, (i) => address.bytes[i]! ^ flip));

/** RFC 5214, 6.1: an interface identifier of 00-00-5E-FE and an IPv4 address, under any prefix; with the "universal" bit or without. */
function isIsatap({ bytes }: IpAddress): boolean {
  return (bytes[8]! & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
}
