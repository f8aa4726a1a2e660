/**
 * Gives the guest the one address that it has anyway (RFC 2131), for guests whose own init asks for it. There is one lease, so nothing
 * is kept: whatever the guest says before, the answer follows from the message. Other servers' clients are left alone.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import {
  buildDhcpReply,
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  DHCP_TYPE,
  type DhcpReply,
  type DhcpRequest,
  parseDhcpRequest,
} from "../packet/dhcp.ts";
import { sameBytes } from "../packet/ethernet.ts";
import { isUnspecified, PROTOCOL } from "../packet/ip-packet.ts";
import { buildUdpHeader } from "../packet/udp.ts";
import type { DropCounts } from "./drop-counts.ts";
import type { LinkAddresses } from "./link-addresses.ts";
import type { PacketSender } from "./packet-sender.ts";

const LEASE_S = 24 * 60 * 60;
const EVERYBODY = IpAddress.parse("255.255.255.255")!;

export class DhcpServer {
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

  /** The payload of a datagram to the server's port. */
  receive(payload: Uint8Array): void {
    const request = parseDhcpRequest(payload);
    if (request === undefined) {
      this.#drops.add("malformed");
      return;
    }
    if (!sameBytes(request.mac, this.#addresses.guestMac)) {
      this.#drops.add("source-mac");
      return;
    }
    const reply = this.#replyTo(request);
    if (reply === undefined) return;
    const { address: server } = this.#addresses.gateway[4];
    const bytes = buildDhcpReply(request, reply);
    // Who has no address yet hears broadcasts, and frames to its MAC if it said so; the same frame does for both.
    const to = isUnspecified(request.clientAddress) ? EVERYBODY : request.clientAddress;
    const ports = { sourcePort: DHCP_SERVER_PORT, destinationPort: DHCP_CLIENT_PORT };
    this.#sender.send(server, to, PROTOCOL.udp, [buildUdpHeader(server, to, ports, bytes), bytes]);
  }

  #replyTo(request: DhcpRequest): DhcpReply | undefined {
    const { address: server, prefix } = this.#addresses.gateway[4];
    const { address } = this.#addresses.guest[4];
    const network = { prefix, router: server, dnsServers: [server], mtu: this.#mtu };
    const lease = { server, address, leaseS: LEASE_S, network };
    if (request.type === DHCP_TYPE.discover) return { type: DHCP_TYPE.offer, ...lease };
    if (request.type === DHCP_TYPE.inform) {
      return this.#addresses.isGuest(request.clientAddress)
        ? { type: DHCP_TYPE.ack, server, network }
        : undefined;
    }
    if (request.type !== DHCP_TYPE.request) return undefined;
    if (request.server !== undefined && !request.server.equals(server)) return undefined;
    const wanted = request.requested ?? request.clientAddress;
    return wanted.equals(address) ? { type: DHCP_TYPE.ack, ...lease } : { type: DHCP_TYPE.nak, server };
  }
}
