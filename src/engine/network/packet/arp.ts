/** ARP for IPv4 over Ethernet (RFC 826), and nothing else that its fields could say. Bounds: 28 bytes, what follows is padding. */
import { IpAddress } from "../../../contract/ip-address.ts";
import { readUint16, writeUint16 } from "./big-endian.ts";
import { ETHERTYPE, MAC_BYTES } from "./ethernet.ts";

const LENGTH = 28;
const HARDWARE_ETHERNET = 1;
const IPV4_BYTES = 4;

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

export interface ArpMessage {
  operation: number;
  senderMac: Uint8Array;
  sender: IpAddress;
  targetMac: Uint8Array;
  target: IpAddress;
}

/** Undefined if it is cut off, or of another network. */
export function parseArp(bytes: Uint8Array): ArpMessage | undefined {
  if (bytes.length < LENGTH) return undefined;
  if (readUint16(bytes, 0) !== HARDWARE_ETHERNET || readUint16(bytes, 2) !== ETHERTYPE.ipv4) return undefined;
  if (bytes[4] !== MAC_BYTES || bytes[5] !== IPV4_BYTES) return undefined;
  return {
    operation: readUint16(bytes, 6),
    senderMac: bytes.subarray(8, 14),
    sender: new IpAddress(bytes.subarray(14, 18)),
    targetMac: bytes.subarray(18, 24),
    target: new IpAddress(bytes.subarray(24, LENGTH)),
  };
}

export function buildArp(message: ArpMessage): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  writeUint16(bytes, 0, HARDWARE_ETHERNET);
  writeUint16(bytes, 2, ETHERTYPE.ipv4);
  bytes[4] = MAC_BYTES;
  bytes[5] = IPV4_BYTES;
  writeUint16(bytes, 6, message.operation);
  bytes.set(message.senderMac, 8);
  bytes.set(message.sender.bytes, 14);
  bytes.set(message.targetMac, 18);
  bytes.set(message.target.bytes, 24);
  return bytes;
}
