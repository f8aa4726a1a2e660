/**
 * Ethernet II frames: who to, who from, what. Frames of IEEE 802.3 with a length instead of a type, and of VLANs, have types that nobody
 * here knows. Bounds: a frame has at least its header; the link bounds the rest.
 */
import { readUint16, writeUint16 } from "./big-endian.ts";

export const ETHERNET_HEADER = 14;
export const MAC_BYTES = 6;

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

export const BROADCAST_MAC = new Uint8Array(MAC_BYTES).fill(0xff);

export interface EthernetFrame {
  destination: Uint8Array;
  source: Uint8Array;
  type: number;
  /** May be longer than the packet in it: short frames are padded. */
  payload: Uint8Array;
}

/** Parts of the frame, not copied; undefined if it is shorter than a header. */
export function parseEthernet(frame: Uint8Array): EthernetFrame | undefined {
  if (frame.length < ETHERNET_HEADER) return undefined;
  return {
    destination: frame.subarray(0, MAC_BYTES),
    source: frame.subarray(MAC_BYTES, 2 * MAC_BYTES),
    type: readUint16(frame, 2 * MAC_BYTES),
    payload: frame.subarray(ETHERNET_HEADER),
  };
}

export function writeEthernetHeader(
  into: Uint8Array,
  header: { destination: Uint8Array; source: Uint8Array; type: number },
): void {
  into.set(header.destination, 0);
  into.set(header.source, MAC_BYTES);
  writeUint16(into, 2 * MAC_BYTES, header.type);
}

/** Sent to more than one: the lowest bit of the first byte (IEEE 802-2014, 8.2.2). */
export function isGroupMac(mac: Uint8Array): boolean {
  return (mac[0]! & 1) !== 0;
}

/** Of six pairs of hex digits between colons. Throws RangeError for anything else. */
export function parseMac(text: string): Uint8Array {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) throw new RangeError(`"${text}" is no MAC address`);
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
