import { networkInterfaces } from "node:os";
import { IpAddress } from "../../../contract/ip-address.ts";
import { IpPrefix } from "../../../contract/ip-prefix.ts";
import type { GuestLink } from "../guest-link.ts";
import type { Surroundings } from "../policy/place.ts";

/** The host's addresses, looked up at most once per second: laptops change networks. */

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

/** What is around a sandbox on this link. */
export function surroundingsOf({ gateway, guest }: GuestLink): Surroundings {
  return {
    hostAddresses,
    ownNetworks: [...gateway.addresses, ...guest.addresses].map(({ address, prefix }) =>
      IpPrefix.around(address, prefix),
    ),
    translators: [],
  };
}
