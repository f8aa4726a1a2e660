/**
 * The way to the guest: puts payloads into packets and these into frames. What is longer than the MTU goes in pieces. When the link is
 * full, TCP is told to wait; everything else is dropped until it has room again, since nobody could say stop to a sender far
 * away. Bounds: nothing is kept here.
 */
import { randomInt } from "node:crypto";
import type { IpAddress } from "../../../contract/ip-address.ts";
import { ETHERNET_HEADER, ETHERTYPE, writeEthernetHeader } from "../packet/ethernet.ts";
import { IPV4_HEADER, IPV6_HEADER, PROTOCOL } from "../packet/ip-packet.ts";
import { writeIpv4Header } from "../packet/ipv4.ts";
import { FRAGMENT_HEADER, writeFragmentHeader, writeIpv6Header } from "../packet/ipv6.ts";
import type { DropCounts } from "./drop-counts.ts";
import type { LinkAddresses } from "./link-addresses.ts";

/** Where frames go. */
export interface FrameSink {
  /** The parts of one frame. False: there is no room for more; `Gateway.resume` is to be called when there is. */
  send(parts: readonly Uint8Array[]): boolean;
}

export const HOP_LIMIT = 64;
const FRAGMENT_NEXT_HEADER = 44;
const LARGEST_PAYLOAD = 65_535;

export class PacketSender {
  readonly #addresses: LinkAddresses;
  readonly #mtu: number;
  readonly #sink: FrameSink;
  readonly #drops: DropCounts;
  #identification = randomInt(2 ** 32);
  #full = false;

  constructor(addresses: LinkAddresses, mtu: number, sink: FrameSink, drops: DropCounts) {
    this.#addresses = addresses;
    this.#mtu = mtu;
    this.#sink = sink;
    this.#drops = drops;
  }

  /** The link has room again. */
  resume(): void {
    this.#full = false;
  }

  /** A segment is always taken; false tells its sender to wait. */
  sendTcp(from: IpAddress, to: IpAddress, header: Uint8Array, payload: Uint8Array): boolean {
    this.#packet(from, to, PROTOCOL.tcp, HOP_LIMIT, header, payload);
    return !this.#full;
  }

  /** False if it was dropped. */
  send(
    from: IpAddress,
    to: IpAddress,
    protocol: number,
    [header, payload]: [Uint8Array, Uint8Array?],
    hopLimit = HOP_LIMIT,
  ): boolean {
    const length = header.length + (payload?.length ?? 0);
    const room = this.#mtu - (from.version === 4 ? IPV4_HEADER : IPV6_HEADER);
    if (this.#full || length > LARGEST_PAYLOAD) {
      this.#drops.add("link-full");
      return false;
    }
    if (length <= room) this.#packet(from, to, protocol, hopLimit, header, payload);
    else this.#inPieces(from, to, protocol, joined(header, payload), room);
    return true;
  }

  /** A payload of the link itself. */
  sendFrame(type: number, destination: Uint8Array, payload: Uint8Array): void {
    if (this.#full) {
      this.#drops.add("link-full");
      return;
    }
    const header = new Uint8Array(ETHERNET_HEADER);
    writeEthernetHeader(header, { destination, source: this.#addresses.gatewayMac, type });
    this.#frame([header, payload]);
  }

  #packet(
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    hopLimit: number,
    first: Uint8Array,
    second?: Uint8Array,
  ): void {
    const payloadLength = first.length + (second?.length ?? 0);
    const fields = { source, destination, protocol, hopLimit, payloadLength };
    const header = this.#headers(source.version);
    if (source.version === 4) writeIpv4Header(header, ETHERNET_HEADER, fields);
    else writeIpv6Header(header, ETHERNET_HEADER, fields);
    this.#frame(second === undefined || second.length === 0 ? [header, first] : [header, first, second]);
  }

  #inPieces(
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    whole: Uint8Array,
    room: number,
  ): void {
    const six = source.version === 6;
    const step = Math.floor((six ? room - FRAGMENT_HEADER : room) / 8) * 8;
    this.#identification = (this.#identification + 1) >>> 0;
    for (let offset = 0; offset < whole.length; offset += step) {
      const piece = whole.subarray(offset, offset + step);
      const more = offset + step < whole.length;
      const fields = { source, destination, protocol, hopLimit: HOP_LIMIT, payloadLength: piece.length };
      const header = this.#headers(source.version);
      if (six) {
        const before = new Uint8Array(FRAGMENT_HEADER);
        const payloadLength = FRAGMENT_HEADER + piece.length;
        writeIpv6Header(header, ETHERNET_HEADER, {
          ...fields,
          protocol: FRAGMENT_NEXT_HEADER,
          payloadLength,
        });
        writeFragmentHeader(before, 0, protocol, { identification: this.#identification, offset, more });
        this.#frame([header, before, piece]);
      } else {
        const fragment = { identification: this.#identification & 0xffff, offset, more };
        writeIpv4Header(header, ETHERNET_HEADER, { ...fields, fragment });
        this.#frame([header, piece]);
      }
    }
  }

  /** Room for the headers of frame and packet, which are one part; the frame's is written. */
  #headers(version: 4 | 6): Uint8Array {
    const { guestMac, gatewayMac } = this.#addresses;
    const header = new Uint8Array(ETHERNET_HEADER + (version === 4 ? IPV4_HEADER : IPV6_HEADER));
    const type = version === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
    writeEthernetHeader(header, { destination: guestMac, source: gatewayMac, type });
    return header;
  }

  #frame(parts: Uint8Array[]): void {
    if (!this.#sink.send(parts)) this.#full = true;
  }
}

function joined(first: Uint8Array, second?: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + (second?.length ?? 0));
  whole.set(first, 0);
  if (second !== undefined) whole.set(second, first.length);
  return whole;
}
