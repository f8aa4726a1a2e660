import type { IpAddress } from "../../../contract/ip-address.ts";
import type { IpPrefix } from "../../../contract/ip-prefix.ts";
import { embeddedAddresses, translatedTo } from "./embedded.ts";
import { METADATA_ADDRESSES } from "./metadata.ts";
import { type AddressClass, type Block, IPV4_BLOCKS, IPV6_BLOCKS } from "./special-purpose.ts";

/**
 * What an address is to a sandbox: its class by the registries, or a role that counts more than the class. The host's own
 * addresses may be public ones, and the host's firewall does not stand between a host and itself: they are `host`, like its
 * loopback. Fails towards the stricter: of several readings of an address the most forbidden one counts.
 */

export type PlaceKind = AddressClass | "host" | "group" | "metadata";

export interface Place {
  kind: PlaceKind;
  /** For people: what it is and who says so, `private use, RFC 1918`. */
  name: string;
  /** IPv4 addresses that an IPv6 one carries. */
  embedded: IpAddress[];
}

/** What is known of the world around a sandbox. */
export interface Surroundings {
  /** Addresses of the host's interfaces, canonical; asked at every decision, since they change. */
  hostAddresses(): ReadonlySet<string>;
  /** The networks between gateways and guests: nothing of the host's is there. */
  ownNetworks: readonly IpPrefix[];
  /** NAT64 prefixes that the host's network is known to have; asked at every decision. */
  translators(): readonly IpPrefix[];
}

/** The block of the registries that the address lies in. */
export function blockOf(address: IpAddress): Block {
  let best: Block | undefined;
  for (const block of address.version === 4 ? IPV4_BLOCKS : IPV6_BLOCKS)
    if (block.prefix.contains(address) && (best === undefined || block.prefix.length > best.prefix.length))
      best = block;
  return best!;
}

/** What a destination is. */
export function placeOf(address: IpAddress, around: Surroundings): Place {
  const translators = around.translators();
  const embedded = embeddedAddresses(address, translators);
  const role = roleOf(address, around);
  if (role !== undefined) return { ...role, embedded };
  for (const inner of embedded) {
    const carried = roleOf(inner, around);
    if (carried !== undefined)
      return { kind: carried.kind, name: `a form of ${inner.text}: ${carried.name}`, embedded };
  }
  const translated = translatedTo(address, translators);
  if (translated.length > 0 && translated.length === embedded.length)
    return placeBehind(translated, embedded);
  const block = blockOf(address);
  if (embedded.length > 0 && block.class !== "translated")
    return {
      kind: "translated",
      name: `a form of ${embedded.map((inner) => inner.text).join(" or ")}`,
      embedded,
    };
  return { kind: block.class, name: `${block.name}, ${block.source}`, embedded };
}

/** An address of a translator that the host's network has is what its IPv4 address is: whoever has IPv6 alone reaches the rest so. */
function placeBehind(translated: readonly IpAddress[], embedded: IpAddress[]): Place {
  const blocks = translated.map((inner) => ({ inner, block: blockOf(inner) }));
  const { inner, block } = blocks.find((each) => each.block.class !== "public") ?? blocks[0]!;
  return {
    kind: block.class,
    name: `${inner.text} behind the network's NAT64: ${block.name}, ${block.source}`,
    embedded,
  };
}

/** What counts more than the class. */
function roleOf(address: IpAddress, around: Surroundings): Omit<Place, "embedded"> | undefined {
  const block = blockOf(address);
  if (block.class === "never") return { kind: "never", name: `${block.name}, ${block.source}` };
  if (around.ownNetworks.some((own) => own.contains(address)))
    return { kind: "never", name: "the network between sandboxes and their gateways" };
  const cloud = METADATA_ADDRESSES.get(address.text);
  if (cloud !== undefined) return { kind: "metadata", name: `cloud metadata: ${cloud}` };
  if (around.hostAddresses().has(address.text))
    return { kind: "host", name: "an address of the host itself" };
  return undefined;
}
