/** UDP datagrams (RFC 768; RFC 8200 section 8.1). Reading copies nothing and never throws. Bounds: the length that the header says. */
import type { IpAddress } from "../../../contract/ip-address.ts";
import { readUint16, writeUint16 } from "./big-endian.ts";
import { checksumOf, onesSum, pseudoHeaderSum } from "./checksum.ts";
import { type IpPacket, PROTOCOL } from "./ip-packet.ts";

export const UDP_HEADER = 8;
/** Bytes of payload: the length field of IPv4 counts the IP header, that of IPv6 does not. */
export const MAX_DATAGRAM = { 4: 65_507, 6: 65_527 };

const CHECKSUM_AT = 6;

export interface UdpDatagram {
  sourcePort: number;
  destinationPort: number;
  payload: Uint8Array;
}

/** Undefined if it is cut off, its checksum is wrong, or it has none where it must. Bytes beyond its length are left out. */
export function parseUdp(packet: IpPacket): UdpDatagram | undefined {
  const bytes = packet.payload;
  if (bytes.length < UDP_HEADER) return undefined;
  const length = readUint16(bytes, 4);
  if (length < UDP_HEADER || length > bytes.length) return undefined;
  const datagram = bytes.subarray(0, length);
  if (readUint16(bytes, CHECKSUM_AT) === 0) {
    if (packet.source.version === 6) return undefined;
  } else {
    const pseudo = pseudoHeaderSum(packet.source, packet.destination, PROTOCOL.udp, length);
    if (checksumOf(pseudo + onesSum(datagram)) !== 0) return undefined;
  }
  return {
    sourcePort: readUint16(bytes, 0),
    destinationPort: readUint16(bytes, 2),
    payload: datagram.subarray(UDP_HEADER),
  };
}

/** The header of a datagram, with the checksum of both. `payload`: at most `MAX_DATAGRAM`. */
export function buildUdpHeader(
  from: IpAddress,
  to: IpAddress,
  ports: { sourcePort: number; destinationPort: number },
  payload: Uint8Array,
): Uint8Array {
  const length = UDP_HEADER + payload.length;
  const header = new Uint8Array(UDP_HEADER);
  writeUint16(header, 0, ports.sourcePort);
  writeUint16(header, 2, ports.destinationPort);
  writeUint16(header, 4, length);
  const pseudo = pseudoHeaderSum(from, to, PROTOCOL.udp, length);
  // 0 would mean that there is none.
  writeUint16(header, CHECKSUM_AT, checksumOf(pseudo + onesSum(header) + onesSum(payload)) || 0xffff);
  return header;
}
