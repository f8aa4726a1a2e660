import type { IpAddress } from "../../../../contract/ip-address.ts";
import { LONE_LINK } from "../../guest-link.ts";
import { ETHERTYPE, parseEthernet, parseMac } from "../../packet/ethernet.ts";
import { buildIcmp, type IcmpMessage, parseIcmp } from "../../packet/icmp.ts";
import { type IpPacket, PROTOCOL } from "../../packet/ip-packet.ts";
import { parseIpv4 } from "../../packet/ipv4.ts";
import { parseIpv6 } from "../../packet/ipv6.ts";
import { parseTcp, tcpChecksumHolds } from "../../packet/tcp.ts";
import { buildUdpHeader, parseUdp } from "../../packet/udp.ts";
import type { TcpRequest } from "../../tcp/request.ts";
import { ManualClock } from "../../tcp/testing/manual-clock.ts";
import { ethernetFrame, ip, ipPacket, type PacketFields } from "../../testing/packets.ts";
import { Gateway, type GatewayConfig } from "../gateway.ts";
import type { UdpFlow } from "../udp-flow.ts";

export const GUEST_MAC = parseMac(LONE_LINK.guest.mac);
export const GATEWAY_MAC = parseMac(LONE_LINK.gateway.mac);
export const GUEST = { 4: ip("10.209.0.2"), 6: ip("fd6d:7362::2") };
export const GATEWAY = { 4: ip("10.209.0.1"), 6: ip("fd6d:7362::1") };
export const REMOTE = { 4: ip("198.51.100.7"), 6: ip("2001:db8::7") };

/** A gateway with a guest that is written by hand: what it sends, and what it got. */
export class WiredGateway {
  readonly clock = new ManualClock();
  readonly frames: Uint8Array[] = [];
  readonly requests: TcpRequest[] = [];
  readonly flows: UdpFlow[] = [];
  readonly gateway: Gateway;
  /** What the link says of its room. */
  room = true;

  constructor(config: Partial<GatewayConfig> = {}) {
    this.gateway = new Gateway(
      { link: LONE_LINK, clock: this.clock, ...config },
      { tcp: (request) => this.requests.push(request), udp: (flow) => this.flows.push(flow) },
      {
        send: (parts) => {
          this.frames.push(new Uint8Array(Buffer.concat(parts)));
          return this.room;
        },
      },
    );
  }

  /** An IP packet of the guest. */
  packet(fields: PacketFields, ...payload: Uint8Array[]): void {
    this.gateway.receive(ethernetFrame(GUEST_MAC, GATEWAY_MAC, ipPacket(fields, ...payload)));
  }

  udp(
    to: IpAddress,
    port: number,
    payload: Uint8Array,
    options: { sourcePort?: number; hopLimit?: number } = {},
  ): void {
    const source = GUEST[to.version];
    const { sourcePort = 40_000, ...rest } = options;
    const header = buildUdpHeader(source, to, { sourcePort, destinationPort: port }, payload);
    this.packet({ source, destination: to, protocol: PROTOCOL.udp, ...rest }, header, payload);
  }

  icmp(to: IpAddress, message: IcmpMessage, options: { source?: IpAddress; hopLimit?: number } = {}): void {
    const { source = GUEST[to.version], ...rest } = options;
    const protocol = to.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    this.packet({ source, destination: to, protocol, ...rest }, buildIcmp(source, to, message));
  }

  /** The packets that the guest got since the last call; undefined for one that a kernel would drop. */
  received(): (IpPacket | undefined)[] {
    return this.frames.splice(0).map(readFrame);
  }

  /** The one ICMP message that the guest got since. */
  icmpReceived(): IcmpMessage & { from: string; to: string } {
    const packets = this.received();
    const message = packets.length === 1 && packets[0] !== undefined ? parseIcmp(packets[0]) : undefined;
    if (message === undefined) throw new Error(`not one ICMP message but ${packets.length} packets`);
    return { ...message, from: packets[0]!.source.text, to: packets[0]!.destination.text };
  }
}

/** What a kernel makes of a frame for the guest. */
export function readFrame(bytes: Uint8Array): IpPacket | undefined {
  const frame = parseEthernet(bytes)!;
  const packet = frame.type === ETHERTYPE.ipv4 ? parseIpv4(frame.payload) : parseIpv6(frame.payload);
  if (packet === undefined || packet.fragment !== undefined) return packet;
  const { protocol, source, destination, payload } = packet;
  if (protocol === PROTOCOL.udp) return parseUdp(packet) && packet;
  if (protocol === PROTOCOL.tcp)
    return parseTcp(payload) && tcpChecksumHolds(source, destination, payload) ? packet : undefined;
  return parseIcmp(packet) && packet;
}
