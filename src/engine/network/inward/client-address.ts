import { IpAddress } from "../../../contract/ip-address.ts";
import { IpPrefix } from "../../../contract/ip-prefix.ts";
import type { GuestLink } from "../guest-link.ts";

/**
 * Who a client of a published port is to the guest: itself, where a packet from there makes sense on the link. Loopback, link-local
 * and the link's own addresses do not, and are the host's.
 */
export function clientOf(remote: string | undefined, link: GuestLink): IpAddress {
  const address = IpAddress.parse(remote ?? "");
  const version = address?.version ?? (remote?.includes(":") ? 6 : 4);
  const host = link.host.find((each) => each.version === version)!;
  return address === undefined || isOfOneHost(address) || isOnLink(address, link) ? host : address;
}

/** Where the policy is asked: the address as it came, so that rules for 127.0.0.1 can be written. */
export function peerOf(remote: string | undefined): IpAddress | undefined {
  return IpAddress.parse((remote ?? "").replace(/%.*$/, ""));
}

function isOfOneHost({ version, bytes }: IpAddress): boolean {
  if (version === 4) return bytes[0] === 127 || bytes[0] === 0 || (bytes[0] === 169 && bytes[1] === 254);
  const loopback = bytes.subarray(0, 15).every((byte) => byte === 0);
  return loopback || (bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80);
}

/** A group's whole network: nobody from outside may seem to be a fellow. */
function isOnLink(address: IpAddress, { gateway, guest, host, group = [] }: GuestLink): boolean {
  const own = [...gateway.addresses, ...guest.addresses].map((end) => end.address);
  return (
    [...own, ...host].some((each) => each.equals(address)) ||
    group.some((end) => IpPrefix.around(end.address, end.prefix).contains(address))
  );
}
