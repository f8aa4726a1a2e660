/**
 * ICMP errors that the guest is sent about its own packets. They quote the packet, by which its kernel finds the socket to tell. None
 * is sent about an error, about what was for many, or about a piece that is not the first (RFC 1122, 3.2.2; RFC 4443, 2.4).
 * Bounds: `BURST` at once and `PER_SECOND` on the long run; a guest that makes more is not told of each.
 */
import type { IpAddress } from "../../../contract/ip-address.ts";
import {
  buildIcmp,
  errorBody,
  ICMP_TYPE,
  type IcmpMessage,
  mayBeAnsweredWithError,
  quoteOf,
  UNREACHABLE_CODE,
  type Unreachable,
} from "../packet/icmp.ts";
import { type IpPacket, isMulticast, isUnspecified, PROTOCOL } from "../packet/ip-packet.ts";
import type { Clock } from "../tcp/clock.ts";
import type { DropCounts } from "./drop-counts.ts";
import type { LinkAddresses } from "./link-addresses.ts";
import type { PacketSender } from "./packet-sender.ts";

const BURST = 200;
const PER_SECOND = 1000;
const HOP_LIMIT_EXCEEDED = 0;
const UNRECOGNIZED_NEXT_HEADER = 1;

/** As much of a packet as an error about it needs, kept for when it is known that there is one. */
export interface Quote {
  source: IpAddress;
  destination: IpAddress;
  bytes: Uint8Array;
}

/** A copy; undefined if no error may be sent about that packet. */
export function quote(packet: IpPacket): Quote | undefined {
  if (isMulticast(packet.destination) || isUnspecified(packet.source)) return undefined;
  if ((packet.fragment?.offset ?? 0) > 0 || !mayBeAnsweredWithError(packet)) return undefined;
  const [source, destination] = [packet.source, packet.destination];
  return { source, destination, bytes: quoteOf(packet) };
}

export class IcmpErrors {
  readonly #sender: PacketSender;
  readonly #addresses: LinkAddresses;
  readonly #clock: Clock;
  readonly #drops: DropCounts;
  #tokens = BURST;
  #filledAt: number;

  constructor(sender: PacketSender, addresses: LinkAddresses, clock: Clock, drops: DropCounts) {
    this.#sender = sender;
    this.#addresses = addresses;
    this.#clock = clock;
    this.#drops = drops;
    this.#filledAt = clock.now();
  }

  unreachable(quoted: Quote | undefined, reason: Unreachable): void {
    if (quoted === undefined) return;
    const { version } = quoted.source;
    const type = ICMP_TYPE[version].unreachable;
    const code = UNREACHABLE_CODE[version][reason];
    // A port or a protocol is refused by who has the address; everything else is said by who does not get there.
    const from = reason === "port" ? quoted.destination : this.#addresses.gateway[version].address;
    this.#send(from, quoted, { type, code, rest: errorBody(quoted.bytes) });
  }

  /** A protocol that nobody here knows. */
  unknownProtocol(packet: IpPacket): void {
    const quoted = quote(packet);
    if (quoted === undefined || packet.source.version === 4) {
      this.unreachable(quoted, "protocol");
      return;
    }
    const rest = errorBody(quoted.bytes, packet.protocolAt);
    const message = { type: ICMP_TYPE[6].parameterProblem, code: UNRECOGNIZED_NEXT_HEADER, rest };
    this.#send(this.#addresses.gateway[6].address, quoted, message);
  }

  /** The gateway is the first hop, and a packet was to go no further. */
  timeExceeded(packet: IpPacket): void {
    const quoted = quote(packet);
    if (quoted === undefined) return;
    const { version } = quoted.source;
    const type = ICMP_TYPE[version].timeExceeded;
    const message = { type, code: HOP_LIMIT_EXCEEDED, rest: errorBody(quoted.bytes) };
    this.#send(this.#addresses.gateway[version].address, quoted, message);
  }

  #send(from: IpAddress, { source }: Quote, message: IcmpMessage): void {
    const now = this.#clock.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#filledAt) / 1000) * PER_SECOND);
    this.#filledAt = now;
    if (this.#tokens < 1) {
      this.#drops.add("rate-limit");
      return;
    }
    this.#tokens -= 1;
    const protocol = from.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    this.#sender.send(from, source, protocol, [buildIcmp(from, source, message)]);
  }
}
