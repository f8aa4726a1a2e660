import fc from "fast-check";
import { IpAddress } from "../../../contract/ip-address.ts";
import { ETHERNET_HEADER, ETHERTYPE, writeEthernetHeader } from "../packet/ethernet.ts";
import { IPV4_HEADER, IPV6_HEADER } from "../packet/ip-packet.ts";
import { writeIpv4Header } from "../packet/ipv4.ts";
import { writeIpv6Header } from "../packet/ipv6.ts";

/** Packets for tests, whole and spoilt. */

export function ip(text: string): IpAddress {
  return IpAddress.parse(text)!;
}

export const anyIpv4 = fc
  .uint8Array({ minLength: 4, maxLength: 4 })
  .map((bytes) => new IpAddress(Uint8Array.from(bytes)));
export const anyIpv6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => new IpAddress(Uint8Array.from(bytes)));

export interface PacketFields {
  source: IpAddress;
  destination: IpAddress;
  protocol: number;
  /** Default 64. */
  hopLimit?: number;
  fragment?: { identification: number; offset: number; more: boolean };
}

/** An IP packet of the addresses' version; fragments are of IPv4 only. */
export function ipPacket(fields: PacketFields, ...payload: Uint8Array[]): Uint8Array {
  const body = Buffer.concat(payload);
  const header = new Uint8Array(fields.source.version === 4 ? IPV4_HEADER : IPV6_HEADER);
  const all = { hopLimit: 64, ...fields, payloadLength: body.length };
  if (fields.source.version === 4) writeIpv4Header(header, 0, all);
  else writeIpv6Header(header, 0, all);
  return new Uint8Array(Buffer.concat([header, body]));
}

export function ethernetFrame(source: Uint8Array, destination: Uint8Array, packet: Uint8Array): Uint8Array {
  const header = new Uint8Array(ETHERNET_HEADER);
  const type = packet[0]! >>> 4 === 6 ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4;
  writeEthernetHeader(header, { source, destination, type });
  return new Uint8Array(Buffer.concat([header, packet]));
}

/** A valid thing in which some bytes are others, and whose end may be missing. */
export function spoilt(valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 6 });
  return fc.tuple(valid, changes, fc.nat(1000)).map(([bytes, edits, cut]) => {
    const copy = Uint8Array.from(bytes);
    for (const [at, value] of edits) if (at < copy.length) copy[at] = value;
    return copy.subarray(0, cut < 300 ? Math.max(0, copy.length - cut) : copy.length);
  });
}
