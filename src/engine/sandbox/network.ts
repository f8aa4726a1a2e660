import { type NetworkSpec, SandboxError, type SandboxSpec } from "../../contract/index.ts";
import type { GuestNetwork } from "../guest/index.ts";
import type { NetworkInterface } from "../machine/index.ts";
import {
  GROUP_NUMBERS,
  type GuestLink,
  groupLink,
  LINK_NUMBERS,
  LONE_LINK,
  numberedLink,
} from "../network/index.ts";
import type { FolderPolicy } from "./folder-policy.ts";
import type { SandboxRecord, StartSpec } from "./record.ts";

/** A sandbox's network interface, as its machine has it and as its agent is told of it. */

/** What a template with a network interface is stored with. */
export const STORED_LINK = LONE_LINK;
export const STORED_INTERFACE = interfaceOf(STORED_LINK);

/** What a sandbox's link comes of. */
export type Linked = Pick<SandboxRecord, "groupNumber" | "linkNumber"> & { spec: StartSpec };

/** The link of a sandbox; none where it must reach nobody. */
export function linkOf({ spec, groupNumber, linkNumber }: Linked): GuestLink | undefined {
  if (spec.network.scope === "none") return undefined;
  if (linkNumber !== undefined) return numberedLink(linkNumber, groupNumber);
  return groupNumber === undefined ? LONE_LINK : groupLink(groupNumber);
}

/** The interface of a sandbox's machine: as its template was stored, whatever addresses the guest takes. */
export function machineInterfaceOf({ network }: StartSpec): NetworkInterface | undefined {
  return network.scope === "none" ? undefined : STORED_INTERFACE;
}

/**
 * A number for the link of another sandbox that is restored, which it keeps for as long as it exists. Above all that are taken where there
 * is room, so that the addresses of one that was just removed are not at once another's.
 * @throws `resource_exhausted` if all are taken
 */
export function nextLinkNumber(taken: readonly (number | undefined)[]): number {
  const used = new Set(taken);
  const { first, last } = LINK_NUMBERS;
  // Neither a network's own address nor all of its hosts', to those who think in octets.
  const free = (number: number) => (number & 0xff) !== 0 && (number & 0xff) !== 255 && !used.has(number);
  const highest = Math.max(first - 1, ...taken.filter((number) => number !== undefined));
  for (let number = highest + 1; number <= last; number++) if (free(number)) return number;
  for (let number = first; number < highest; number++) if (free(number)) return number;
  throw new SandboxError(
    "resource_exhausted",
    `there are ${used.size} sandboxes with addresses of their own`,
    {
      hint: "Remove those that are no longer needed.",
    },
  );
}

/** @param mac six pairs of hex digits between colons */
export function macOf(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(":"), (byte) => Number.parseInt(byte, 16));
}

/** A place in a group. */
export interface Membership {
  group: string;
  /** What its addresses come of. */
  number: number;
}

/**
 * A number for another member of a group, which it keeps for as long as it exists. Above all that are taken where there is room,
 * so that the addresses of one that was just removed are not at once another's.
 * @param taken by sandboxes of any group, whether they run or not
 * @throws `resource_exhausted` if the group has as many members as there are numbers
 */
export function nextGroupNumber(group: string, taken: readonly (Membership | undefined)[]): number {
  const used = new Set(taken.flatMap((each) => (each?.group === group ? [each.number] : [])));
  const { first, last } = GROUP_NUMBERS;
  let number = Math.max(first - 1, ...used) + 1;
  if (number <= last) return number;
  for (number = first; used.has(number); number++);
  if (number <= last) return number;
  throw new SandboxError("resource_exhausted", `the group '${group}' has ${used.size} sandboxes`, {
    hint: "Remove those that are no longer needed, or use another group.",
  });
}

/** @throws `invalid_argument` for a group, ports, rules or a capture without a network, which would silently do nothing; see `assertCapture` */
export function assertNetwork({ network }: SandboxSpec, policy: FolderPolicy): void {
  const { scope, group, ports, rules, capture } = network;
  if (scope !== "none") {
    assertCapture(network, policy);
    return;
  }
  let what: string;
  if (group !== undefined) what = `is in the group '${group}'`;
  else if (ports.length > 0) what = "publishes ports";
  else if (rules.length > 0) what = "has network rules";
  else if (capture !== undefined) what = "captures its network";
  else return;
  throw new SandboxError("invalid_argument", `the sandbox ${what}, and its network's scope is 'none'`, {
    hint: "Ask for the scope 'group', 'public' or 'any'.",
  });
}

/**
 * The file is spelled as it is in truth from the first start on: in a folder that the sandbox may write to it could put a link into the way.
 * @throws SandboxError for a capture whose folder is not there or may not be written to
 */
export function assertCapture({ capture }: NetworkSpec, policy: FolderPolicy): void {
  if (capture === undefined) return;
  const real = policy.checkFile(capture.file);
  if (real === capture.file) return;
  throw new SandboxError("invalid_argument", `there is a link in the path of the capture '${capture.file}'`, {
    hint: `Name it '${real}' if that is where it shall be.`,
  });
}

/** The machine's part of a link. */
export function interfaceOf(link: GuestLink): NetworkInterface {
  return { mac: link.guest.mac, mtu: link.mtu };
}

/** The agent's part of a link: with it the guest need not ask anything of anybody. */
export function guestNetworkOf({ mtu, guest, gateway, host, group = [] }: GuestLink): GuestNetwork {
  const gateways = gateway.addresses.map(({ address }) => address.bytes);
  const mac = macOf(gateway.mac);
  return {
    mtu,
    // Those of the group first: they are what its own name leads to, which it may tell to its fellows.
    addresses: [...group, ...guest.addresses].map(({ address, prefix }) => ({
      address: address.bytes,
      prefix,
    })),
    gateways,
    neighbours: [...gateways, ...host.map(({ bytes }) => bytes)].map((address) => ({ address, mac })),
    dns: gateways,
  };
}
