import { SandboxError } from "../../contract/index.ts";
import type { GuestNetwork } from "../guest/index.ts";
import type { NetworkInterface } from "../machine/index.ts";
import { type GuestLink, LONE_LINK } from "../network/index.ts";
import type { StartSpec } from "./record.ts";

/** A sandbox's network interface, as its machine has it and as its agent is told of it. */

/** What a template with a network interface is stored with. */
export const STORED_LINK = LONE_LINK;
export const STORED_INTERFACE = interfaceOf(STORED_LINK);

/** The link of a sandbox; none where it must reach nobody. */
export function linkOf({ network }: StartSpec): GuestLink | undefined {
  return network.scope === "none" ? undefined : LONE_LINK;
}

/**
 * @param unattached somebody else is at the other end of the sandboxes' links
 * @throws `unsupported` for a sandbox with a network: the other end of its link is not written yet
 */
export function assertNetwork({ network }: StartSpec, unattached: boolean): void {
  if (network.scope === "none" || unattached) return;
  throw new SandboxError("unsupported", `a network of the scope '${network.scope}' is not there yet`, {
    hint: "Leave the network out, or ask for the scope 'none'.",
  });
}

/** The machine's part of a link. */
export function interfaceOf(link: GuestLink): NetworkInterface {
  return { mac: link.guest.mac, mtu: link.mtu };
}

/** The agent's part of a link: with it the guest need not ask anything of anybody. */
export function guestNetworkOf({ mtu, guest, gateway, host }: GuestLink): GuestNetwork {
  const gateways = gateway.addresses.map(({ address }) => address.bytes);
  const mac = Uint8Array.from(gateway.mac.split(":"), (byte) => Number.parseInt(byte, 16));
  return {
    mtu,
    addresses: guest.addresses.map(({ address, prefix }) => ({ address: address.bytes, prefix })),
    gateways,
    neighbours: [...gateways, ...host.map(({ bytes }) => bytes)].map((address) => ({ address, mac })),
    dns: gateways,
  };
}
