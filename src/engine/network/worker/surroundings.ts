import { networkInterfaces } from "node:os";
import { IpAddress } from "../../../contract/ip-address.ts";
import { IpPrefix } from "../../../contract/ip-prefix.ts";
import { Nat64Prefixes } from "../dns/nat64-prefixes.ts";
import { HostResolver } from "../dns/resolver.ts";
import type { GuestLink } from "../guest-link.ts";
import type { Surroundings } from "../policy/place.ts";

/** What is so for all sandboxes of this thread: the host's addresses, looked up at most once per second, and its network's NAT64. */

const LOOK_EVERY_MS = 1000;

let lookAt = -Infinity;
let known: ReadonlySet<string> = new Set();

function hostAddresses(): ReadonlySet<string> {
  const now = performance.now();
  if (now < lookAt) return known;
  lookAt = now + LOOK_EVERY_MS;
  const found = new Set<string>();
  for (const interfaces of Object.values(networkInterfaces()))
    for (const { address } of interfaces ?? []) {
      const parsed = IpAddress.parse(address.replace(/%.*$/, ""));
      if (parsed !== undefined) found.add(parsed.text);
    }
  known = found;
  return known;
}

const nat64 = new Nat64Prefixes({ resolver: new HostResolver(), addresses: hostAddresses });

/** While it is not known yet what an address of this kind leads to. Never rejects. */
export function unsurveyed({ version }: IpAddress): Promise<void> | undefined {
  return version === 6 ? nat64.unknown() : undefined;
}

/** What is around a sandbox on this link. */
export function surroundingsOf({ gateway, guest, group = [] }: GuestLink): Surroundings {
  // So that it is known when the guest comes.
  nat64.prefixes();
  return {
    hostAddresses,
    ownNetworks: [...gateway.addresses, ...guest.addresses, ...group].map(({ address, prefix }) =>
      IpPrefix.around(address, prefix),
    ),
    translators: () => nat64.prefixes(),
  };
}
