import { IpAddress } from "../../../contract/ip-address.ts";
import type { GuestLink, LinkEnd } from "../guest-link.ts";
import { parseMac, sameBytes } from "../packet/ethernet.ts";

/** The gateway's own name on every link (RFC 4291, 2.5.6); routers advertise themselves by it. */
export const ROUTER_LINK_LOCAL = IpAddress.parse("fe80::1")!;

interface OwnAddress {
  address: IpAddress;
  prefix: number;
}

type Pair = Record<4 | 6, OwnAddress>;

/** Who is who on one sandbox's link, in the form in which frames are compared with it. */
export class LinkAddresses {
  readonly guestMac: Uint8Array;
  readonly gatewayMac: Uint8Array;
  readonly guest: Pair;
  readonly gateway: Pair;
  readonly #others: readonly IpAddress[];
  /** The guest's addresses in its group. */
  readonly #group: readonly OwnAddress[];

  constructor(link: GuestLink) {
    this.guestMac = parseMac(link.guest.mac);
    this.gatewayMac = parseMac(link.gateway.mac);
    this.guest = pairOf(link.guest);
    this.gateway = pairOf(link.gateway);
    this.#others = [ROUTER_LINK_LOCAL, ...link.host];
    this.#group = link.group ?? [];
  }

  isGuest(address: IpAddress): boolean {
    const { version, bytes } = address;
    return (
      sameBytes(this.guest[version].address.bytes, bytes) ||
      this.#group.some((own) => sameBytes(own.address.bytes, bytes))
    );
  }

  /** Within the network of the guest's group, and not its own: a fellow has it, or nobody. */
  isFellow(address: IpAddress): boolean {
    return this.#group.some((own) => isWithin(own, address)) && !this.isGuest(address);
  }

  isGateway(address: IpAddress): boolean {
    const { bytes } = address;
    return (
      sameBytes(this.gateway[address.version].address.bytes, bytes) ||
      sameBytes(ROUTER_LINK_LOCAL.bytes, bytes)
    );
  }

  /** Whether whoever asks for that address on the link is told the gateway's MAC. */
  answersFor(address: IpAddress): boolean {
    return (
      this.isGateway(address) ||
      this.#others.some((other) => sameBytes(other.bytes, address.bytes)) ||
      this.isFellow(address)
    );
  }

  /** Within the network of the link, whether anybody has it or not. */
  isOnLink(address: IpAddress): boolean {
    return isWithin(this.gateway[address.version], address);
  }

  /** The address for all in an IPv4 network of the link. */
  isSubnetBroadcast(address: IpAddress): boolean {
    return address.version === 4 && [this.gateway[4], ...this.#group].some((own) => isLastOf(own, address));
  }
}

function isWithin(own: OwnAddress, address: IpAddress): boolean {
  return (
    own.address.version === address.version && sharesPrefix(own.address.bytes, address.bytes, own.prefix)
  );
}

/** All bits that are not of the network are ones. */
function isLastOf(own: OwnAddress, address: IpAddress): boolean {
  if (!isWithin(own, address)) return false;
  const hostBits = own.prefix >= 31 ? 0 : 2 ** (32 - own.prefix) - 1;
  const low = new DataView(address.bytes.buffer, address.bytes.byteOffset).getUint32(0);
  return hostBits !== 0 && (low & hostBits) >>> 0 === hostBits;
}

function pairOf(end: LinkEnd): Pair {
  const [v4, v6] = ([4, 6] as const).map((version) =>
    end.addresses.find(({ address }) => address.version === version),
  );
  if (v4 === undefined || v6 === undefined)
    throw new RangeError("an end of a link has one address of each version");
  return { 4: v4, 6: v6 };
}

function sharesPrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >>> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = bits & 7;
  return rest === 0 || (a[whole]! ^ b[whole]!) >>> (8 - rest) === 0;
}
