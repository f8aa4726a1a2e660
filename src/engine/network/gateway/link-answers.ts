/**
 * What is asked on the link itself and answered at once: who has an address (ARP, neighbour solicitations), who is the router, is the
 * gateway there (echo). Answers go to the guest's MAC, which is known; nothing that the guest says of who is where is learnt.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import { ARP_REPLY, ARP_REQUEST, buildArp, parseArp } from "../packet/arp.ts";
import { ETHERTYPE, sameBytes } from "../packet/ethernet.ts";
import { buildIcmp, ICMP_TYPE, type IcmpMessage } from "../packet/icmp.ts";
import { type IpPacket, isMulticast, isUnspecified, PROTOCOL } from "../packet/ip-packet.ts";
import {
  isRouterSolicitation,
  NDP_HOP_LIMIT,
  NDP_TYPE,
  neighbourAdvertisement,
  parseNeighbourSolicitation,
  routerAdvertisement,
} from "../packet/ndp.ts";
import type { DropCounts } from "./drop-counts.ts";
import { type LinkAddresses, ROUTER_LINK_LOCAL } from "./link-addresses.ts";
import { HOP_LIMIT, type PacketSender } from "./packet-sender.ts";

const ALL_NODES = IpAddress.parse("ff02::1")!;
/** Guests ask again when it is over (RFC 4861, 6.2.1: at most 9000). */
const ROUTER_LIFETIME_S = 9000;

export class LinkAnswers {
  readonly #sender: PacketSender;
  readonly #addresses: LinkAddresses;
  readonly #mtu: number;
  readonly #drops: DropCounts;

  constructor(sender: PacketSender, addresses: LinkAddresses, mtu: number, drops: DropCounts) {
    this.#sender = sender;
    this.#addresses = addresses;
    this.#mtu = mtu;
    this.#drops = drops;
  }

  arp(bytes: Uint8Array): void {
    const { guestMac, gatewayMac } = this.#addresses;
    const message = parseArp(bytes);
    if (message === undefined) {
      this.#drops.add("malformed");
      return;
    }
    const { operation, senderMac, sender, target } = message;
    // 0.0.0.0: whether an address is free, before it is used (RFC 5227).
    const honest = this.#addresses.isGuest(sender) || (operation === ARP_REQUEST && isUnspecified(sender));
    if (!honest || !sameBytes(senderMac, guestMac)) {
      this.#drops.add("rogue");
      return;
    }
    if (operation !== ARP_REQUEST || !this.#addresses.answersFor(target)) return;
    const reply = buildArp({
      operation: ARP_REPLY,
      senderMac: gatewayMac,
      sender: target,
      targetMac: guestMac,
      target: sender,
    });
    this.#sender.sendFrame(ETHERTYPE.arp, guestMac, reply);
  }

  /** True if the message was one of neighbour discovery, whatever became of it. */
  neighbourDiscovery(packet: IpPacket, message: IcmpMessage): boolean {
    const { type } = message;
    if (type < NDP_TYPE.routerSolicitation || type > NDP_TYPE.redirect) return false;
    if (packet.hopLimit !== NDP_HOP_LIMIT) this.#drops.add("malformed");
    else if (type === NDP_TYPE.neighbourSolicitation) this.#solicited(packet, message);
    else if (type === NDP_TYPE.routerSolicitation) this.#routerSolicited(packet, message);
    else if (type !== NDP_TYPE.neighbourAdvertisement || !this.#isAboutGuest(message))
      this.#drops.add("rogue");
    return true;
  }

  /** The same bytes back, from the address that was asked. */
  echo(packet: IpPacket, { rest }: IcmpMessage): void {
    const { source, destination } = packet;
    const type = ICMP_TYPE[source.version].echoReply;
    const reply = buildIcmp(destination, source, { type, code: 0, rest });
    const protocol = source.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    this.#sender.send(destination, source, protocol, [reply], HOP_LIMIT);
  }

  #solicited(packet: IpPacket, message: IcmpMessage): void {
    const target = parseNeighbourSolicitation(message)?.target;
    if (target === undefined || isMulticast(target)) {
      this.#drops.add("malformed");
      return;
    }
    if (!this.#addresses.answersFor(target)) return;
    const probe = isUnspecified(packet.source);
    const router = this.#addresses.isGateway(target);
    const { gatewayMac: mac } = this.#addresses;
    // To whoever has no address yet: to all (RFC 4861, 7.2.4).
    const to = probe ? ALL_NODES : packet.source;
    this.#tell(target, to, neighbourAdvertisement({ target, mac, router, solicited: !probe }));
  }

  #routerSolicited(packet: IpPacket, message: IcmpMessage): void {
    if (!isRouterSolicitation(message)) {
      this.#drops.add("malformed");
      return;
    }
    const { address, prefix } = this.#addresses.gateway[6];
    const advertisement = routerAdvertisement({
      mac: this.#addresses.gatewayMac,
      mtu: this.#mtu,
      hopLimit: HOP_LIMIT,
      lifetimeS: ROUTER_LIFETIME_S,
      prefix: { address, length: prefix },
      dnsServers: [address],
    });
    const to = isUnspecified(packet.source) ? ALL_NODES : packet.source;
    this.#tell(ROUTER_LINK_LOCAL, to, advertisement);
  }

  /** Somebody new says where it is: nobody needs to know, but it is no lie. */
  #isAboutGuest(message: IcmpMessage): boolean {
    const target = parseNeighbourSolicitation(message)?.target;
    return target !== undefined && (this.#addresses.isGuest(target) || !this.#addresses.answersFor(target));
  }

  #tell(from: IpAddress, to: IpAddress, message: IcmpMessage): void {
    this.#sender.send(from, to, PROTOCOL.icmpv6, [buildIcmp(from, to, message)], NDP_HOP_LIMIT);
  }
}
