/**
 * One sandbox's side of the wire. Every frame of the guest comes in here; what is asked of the link is answered, and what goes
 * further does so as TCP requests and UDP flows, which whoever owns the gateway decides upon.
 *
 * Who sends is checked first: the MAC and the addresses must be those that the sandbox was given. Nothing that a guest says
 * changes what is known of the link, so there is nothing to poison. What goes no further is counted by its reason, and told where the RFCs
 * have it told. Bounds: those of its parts; a frame makes at most one answer at once. Nothing of what comes in throws.
 */
import type { IpAddress } from "../../../contract/ip-address.ts";
import type { FlowAddress } from "../flow.ts";
import type { GuestLink } from "../guest-link.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../packet/dhcp.ts";
import { ETHERTYPE, isGroupMac, parseEthernet, sameBytes } from "../packet/ethernet.ts";
import { ICMP_TYPE, type IcmpMessage, parseIcmp, type Unreachable } from "../packet/icmp.ts";
import { type IpPacket, isLinkLocal, isMulticast, isUnspecified, PROTOCOL } from "../packet/ip-packet.ts";
import { parseIpv4 } from "../packet/ipv4.ts";
import { parseIpv6 } from "../packet/ipv6.ts";
import { parseQuotedPorts } from "../packet/quoted-ports.ts";
import { parseUdp } from "../packet/udp.ts";
import { type Clock, systemClock } from "../tcp/clock.ts";
import { TcpLayer } from "../tcp/layer.ts";
import type { TcpLimits } from "../tcp/limits.ts";
import type { TcpRequest } from "../tcp/request.ts";
import { DhcpServer } from "./dhcp-server.ts";
import { DropCounts } from "./drop-counts.ts";
import { IcmpErrors, type Quote, quote } from "./icmp-errors.ts";
import { LinkAddresses } from "./link-addresses.ts";
import { LinkAnswers } from "./link-answers.ts";
import { type FrameSink, PacketSender } from "./packet-sender.ts";
import { REASSEMBLY_LIMITS, Reassembler, type ReassemblyLimits } from "./reassembler.ts";
import type { UdpFlow } from "./udp-flow.ts";
import { UDP_LIMITS, UdpFlows, type UdpLimits } from "./udp-flows.ts";

export interface GatewayConfig {
  link: GuestLink;
  tcp?: Partial<TcpLimits>;
  udp?: Partial<UdpLimits>;
  reassembly?: Partial<ReassemblyLimits>;
  clock?: Clock;
}

export interface GatewayHandlers {
  /** The guest asks for a connection; nothing is answered until the request is. */
  tcp(request: TcpRequest): void;
  /** A datagram that belongs to no flow yet; it waits in this one. */
  udp(flow: UdpFlow): void;
  /** Whether an echo of this address is answered in its name, or by which error. Default: only the gateway's own are answered. */
  echo?(destination: IpAddress): "answer" | Unreachable;
}

const DHCPV6_SERVER_PORT = 547;

export class Gateway implements Disposable {
  readonly drops = new DropCounts();
  readonly tcp: TcpLayer;
  readonly #addresses: LinkAddresses;
  readonly #sender: PacketSender;
  readonly #answers: LinkAnswers;
  readonly #errors: IcmpErrors;
  readonly #dhcp: DhcpServer;
  readonly #reassembler: Reassembler;
  readonly #udp: UdpFlows;
  readonly #echo: GatewayHandlers["echo"];
  /** Of the SYNs that requests came from. */
  readonly #quotes = new WeakMap<object, Quote>();
  /** The segment that is looked at. */
  #current: IpPacket | undefined;

  constructor(config: GatewayConfig, handlers: GatewayHandlers, sink: FrameSink) {
    const clock = config.clock ?? systemClock;
    const { mtu } = config.link;
    this.#addresses = new LinkAddresses(config.link);
    const sender = new PacketSender(this.#addresses, mtu, sink, this.drops);
    this.#sender = sender;
    this.#answers = new LinkAnswers(sender, this.#addresses, mtu, this.drops);
    this.#errors = new IcmpErrors(sender, this.#addresses, clock, this.drops);
    this.#echo = handlers.echo?.bind(handlers);
    this.#dhcp = new DhcpServer(sender, this.#addresses, mtu, this.drops);
    this.#reassembler = new Reassembler({ ...REASSEMBLY_LIMITS, ...config.reassembly }, clock, this.drops);
    this.#udp = new UdpFlows({
      limits: { ...UDP_LIMITS, ...config.udp },
      clock,
      sender,
      errors: this.#errors,
      drops: this.drops,
      begin: (flow) => handlers.udp(flow),
    });
    this.tcp = new TcpLayer({
      mtu,
      clock,
      ...(config.tcp && { limits: config.tcp }),
      send: (from, to, header, payload) => sender.sendTcp(from, to, header, payload),
      request: (request) => {
        const quoted = this.#current && quote(this.#current);
        if (quoted !== undefined) this.#quotes.set(request, quoted);
        handlers.tcp(request);
      },
    });
  }

  /** Exchanges of datagrams that are going on. */
  get udpFlows(): number {
    return this.#udp.size;
  }

  /** A frame of the guest. TCP may keep it, so it must not be changed after. */
  receive(bytes: Uint8Array): void {
    const frame = parseEthernet(bytes);
    if (frame === undefined) {
      this.drops.add("malformed");
      return;
    }
    const { guestMac, gatewayMac } = this.#addresses;
    if (!sameBytes(frame.source, guestMac)) this.drops.add("source-mac");
    else if (!isGroupMac(frame.destination) && !sameBytes(frame.destination, gatewayMac))
      this.drops.add("destination");
    else if (frame.type === ETHERTYPE.ipv4) this.#receivePacket(parseIpv4(frame.payload));
    else if (frame.type === ETHERTYPE.ipv6) this.#receivePacket(parseIpv6(frame.payload));
    else if (frame.type === ETHERTYPE.arp) this.#answers.arp(frame.payload);
    else this.drops.add("protocol");
  }

  /** The link has room again. */
  resume(): void {
    this.#sender.resume();
    this.tcp.resume();
  }

  /**
   * Tells the guest by an ICMP error that what a request asks for cannot be had. Whoever calls drops the request after.
   * @param request the very object that the handler was given: with it is kept what the error quotes
   */
  unreachable(request: FlowAddress, code: Unreachable): void {
    this.#errors.unreachable(this.#quotes.get(request), code);
  }

  /** Datagrams to the guest, `flow.destination`, from a client of a published port. Undefined if there is such a flow. */
  openUdp(flow: FlowAddress): UdpFlow | undefined {
    return this.#udp.open(flow);
  }

  [Symbol.dispose](): void {
    this.tcp.close();
    this.#udp.close();
    this.#reassembler.close();
  }

  #receivePacket(packet: IpPacket | undefined): void {
    if (packet === undefined) this.drops.add("malformed");
    else if (this.#addresses.isGuest(packet.source)) this.#receiveOwn(packet);
    else if (packet.fragment !== undefined) this.drops.add("source-address");
    else this.#receiveWithoutAddress(packet);
  }

  /** Before a guest has its address, and on the link only, it may send from none or from one that it made itself. */
  #receiveWithoutAddress(packet: IpPacket): void {
    const { source, protocol } = packet;
    const unspecified = isUnspecified(source);
    if (source.version === 4 && unspecified && protocol === PROTOCOL.udp && this.#isDhcp(packet)) return;
    if (protocol !== PROTOCOL.icmpv6 && isLinkLocal(source) && !isMulticast(packet.destination)) {
      this.#refuseLinkLocal(packet);
      return;
    }
    if (protocol !== PROTOCOL.icmpv6 || !(unspecified || isLinkLocal(source))) {
      this.drops.add("source-address");
      return;
    }
    const message = parseIcmp(packet);
    if (message === undefined) this.drops.add("malformed");
    else if (this.#answers.neighbourDiscovery(packet, message)) return;
    else if (!unspecified && this.#isEchoOfGateway(packet, message)) this.#answers.echo(packet, message);
    // Reports of multicast listeners, mostly.
    else this.drops.add(isMulticast(packet.destination) ? "multicast" : "source-address");
  }

  /** A kernel that connects to the router's link-local address does so from its own, where nothing is to be had but errors. */
  #refuseLinkLocal(packet: IpPacket): void {
    const { destination, protocol } = packet;
    const known = protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp;
    if (known)
      this.#errors.unreachable(quote(packet), this.#addresses.isGateway(destination) ? "port" : "host");
    else this.#errors.unknownProtocol(packet);
  }

  #receiveOwn(packet: IpPacket): void {
    const { destination, hopLimit } = packet;
    if (packet.fragment !== undefined) {
      const whole = this.#reassembler.add(packet);
      if (whole !== undefined) this.#receiveOwn(whole);
    } else if (isMulticast(destination) || this.#addresses.isSubnetBroadcast(destination)) {
      this.#receiveForMany(packet);
    } else if (isUnspecified(destination) || this.#addresses.isGuest(destination) || hopLimit === 0) {
      this.drops.add("destination");
    } else if (this.#addresses.answersFor(destination)) {
      this.#receiveForOne(packet);
    } else if (this.#addresses.isOnLink(destination) || isLinkLocal(destination)) {
      this.#errors.unreachable(quote(packet), "host");
    } else if (hopLimit === 1) {
      this.#errors.timeExceeded(packet);
    } else {
      this.#receiveForOne(packet);
    }
  }

  #receiveForMany(packet: IpPacket): void {
    if (packet.protocol === PROTOCOL.udp && this.#isDhcp(packet)) return;
    const message = packet.protocol === PROTOCOL.icmpv6 ? parseIcmp(packet) : undefined;
    if (message !== undefined && this.#answers.neighbourDiscovery(packet, message)) return;
    this.drops.add("multicast");
  }

  #receiveForOne(packet: IpPacket): void {
    const { protocol, source, destination } = packet;
    if (protocol === PROTOCOL.tcp) {
      this.#current = packet;
      this.tcp.receive(source, destination, packet.payload);
      this.#current = undefined;
    } else if (protocol === PROTOCOL.udp) this.#receiveUdp(packet);
    else if (protocol === (source.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) this.#receiveIcmp(packet);
    else this.#errors.unknownProtocol(packet);
  }

  #receiveUdp(packet: IpPacket): void {
    const datagram = parseUdp(packet);
    if (datagram === undefined) this.drops.add("malformed");
    else if (this.#isServerOfAddresses(datagram)) this.drops.add("rogue");
    else if (this.#addresses.isGateway(packet.destination) && this.#isDhcp(packet)) return;
    else this.#udp.receive(packet, datagram);
  }

  #isServerOfAddresses({ sourcePort }: { sourcePort: number }): boolean {
    return sourcePort === DHCP_SERVER_PORT || sourcePort === DHCPV6_SERVER_PORT;
  }

  /** True if that was something between DHCP clients and servers, whatever became of it. */
  #isDhcp(packet: IpPacket): boolean {
    const datagram = parseUdp(packet);
    if (datagram === undefined) return false;
    const { sourcePort, destinationPort, payload } = datagram;
    if (this.#isServerOfAddresses(datagram)) this.drops.add("rogue");
    else if (
      packet.source.version === 4 &&
      destinationPort === DHCP_SERVER_PORT &&
      sourcePort === DHCP_CLIENT_PORT
    )
      this.#dhcp.receive(payload);
    else return false;
    return true;
  }

  #receiveIcmp(packet: IpPacket): void {
    const { version } = packet.source;
    const message = parseIcmp(packet);
    if (message === undefined) this.drops.add("malformed");
    else if (this.#isEchoOfGateway(packet, message)) this.#answers.echo(packet, message);
    else if (version === 6 && this.#answers.neighbourDiscovery(packet, message)) return;
    else if (message.type === ICMP_TYPE[version].unreachable) this.#refusedByGuest(packet, message);
    else if (message.type === ICMP_TYPE[version].echoRequest) this.#receiveEcho(packet, message);
    else this.drops.add("protocol");
  }

  /** Echo of somebody beyond the gateway. */
  #receiveEcho(packet: IpPacket, message: IcmpMessage): void {
    const answer = this.#echo?.(packet.destination) ?? "prohibited";
    if (answer === "answer") this.#answers.echo(packet, message);
    else this.#errors.unreachable(quote(packet), answer);
  }

  #isEchoOfGateway({ source, destination }: IpPacket, { type, code }: IcmpMessage): boolean {
    return (
      type === ICMP_TYPE[source.version].echoRequest && code === 0 && this.#addresses.isGateway(destination)
    );
  }

  /** Nobody listens in the guest any more where a datagram of ours was to go. */
  #refusedByGuest({ source }: IpPacket, { rest }: IcmpMessage): void {
    const quoted = parseQuotedPorts(rest.subarray(4));
    if (quoted?.protocol !== PROTOCOL.udp || !quoted.destination.equals(source)) this.drops.add("protocol");
    else this.#udp.refused(source, quoted.destinationPort, quoted.source, quoted.sourcePort);
  }
}
