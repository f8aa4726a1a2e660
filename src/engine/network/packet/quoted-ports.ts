/**
 * The packet that an ICMP error is about: its first bytes, from which follow addresses, protocol and ports (RFC 792: at least eight bytes of
 * the payload are there). Its lengths and checksums are not looked at, since it is cut off. Bounds: reads 68 bytes at most; extension
 * headers are not gone through.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import type { FlowAddress } from "../flow.ts";
import { readUint16 } from "./big-endian.ts";
import { IPV4_HEADER, IPV6_HEADER } from "./ip-packet.ts";

export interface QuotedPorts extends FlowAddress {
  protocol: number;
}

/** Undefined if ports are not among what is quoted. */
export function parseQuotedPorts(bytes: Uint8Array): QuotedPorts | undefined {
  const version = bytes[0]! >>> 4;
  const header = version === 6 ? IPV6_HEADER : Math.max(IPV4_HEADER, (bytes[0]! & 15) * 4);
  if ((version !== 4 && version !== 6) || bytes.length < header + 4) return undefined;
  const [from, to, end] = version === 4 ? [12, 16, 20] : [8, 24, 40];
  return {
    source: new IpAddress(bytes.subarray(from, to)),
    destination: new IpAddress(bytes.subarray(to, end)),
    protocol: bytes[version === 4 ? 9 : 6]!,
    sourcePort: readUint16(bytes, header),
    destinationPort: readUint16(bytes, header + 2),
  };
}
