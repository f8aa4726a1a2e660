import { SandboxError, type SandboxSpec } from "../../contract/index.ts";
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

/** @throws `invalid_argument` for ports or rules without a network, which would silently do nothing */
export function assertNetwork({ network: { scope, ports, rules } }: SandboxSpec): void {
  if (scope !== "none" || ports.length + rules.length === 0) return;
  const what = ports.length > 0 ? "publishes ports" : "has network rules";
  throw new SandboxError("invalid_argument", `the sandbox ${what}, and its network's scope is 'none'`, {
    hint: "Ask for the scope 'group', 'public' or 'any'.",
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
