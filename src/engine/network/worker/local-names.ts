import type { IpAddress } from "../../../contract/ip-address.ts";
import type { LocalNames } from "../dns/local-answer.ts";
import type { GuestLink } from "../guest-link.ts";

/** The names that a gateway gives on its link: of the host, of itself, and of the group. */

export const HOST_NAME = "host.microsandbox.internal";
export const GATEWAY_NAME = "gateway.microsandbox.internal";

export function localNamesOf({ host, gateway }: GuestLink, group: () => LocalNames | undefined): LocalNames {
  const names = new Map<string, readonly IpAddress[]>([
    [HOST_NAME, host],
    [GATEWAY_NAME, gateway.addresses.map(({ address }) => address)],
  ]);
  return {
    addressesOf: (name) => names.get(name) ?? group()?.addressesOf(name),
    nameOf: (address) =>
      [...names].find(([, addresses]) => addresses.some((each) => each.equals(address)))?.[0] ??
      group()?.nameOf(address),
  };
}
