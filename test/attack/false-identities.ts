import { buildArp } from "../../src/engine/network/packet/arp.ts";
import { parseMac } from "../../src/engine/network/packet/ethernet.ts";
import { buildIcmp } from "../../src/engine/network/packet/icmp.ts";
import { PROTOCOL } from "../../src/engine/network/packet/ip-packet.ts";
import { neighbourAdvertisement, routerAdvertisement } from "../../src/engine/network/packet/ndp.ts";
import { ip } from "../../src/engine/network/testing/packets.ts";
import type { Attack } from "./attack.ts";
import { frame, GUEST, GUEST_6, GUEST_MAC, packet, synPacket, udpPacket } from "./forge.ts";
import { datagram, datagram6, forged, syn } from "./forged-attack.ts";
import { LAN, LOOT, WEB, WEB_6 } from "./world.ts";

/** Frames that lie about who sent them, and about who is where. Where frames are for somebody public, they carry loot: nothing of it may arrive there. */

const STRANGER_MAC = "02:6d:73:62:00:03";
const EVERYBODY = "ff:ff:ff:ff:ff:ff";

export const SPOOFED: Attack[] = [
  forged("another MAC as the source", [frame(udpPacket(), { from: STRANGER_MAC })], datagram),
  forged("everybody's MAC as the source", [frame(udpPacket(), { from: EVERYBODY })], datagram),
  forged("a frame for somebody else's MAC", [frame(udpPacket(), { to: STRANGER_MAC })], datagram),
  ...[
    "10.209.0.3",
    "10.209.0.1",
    "10.209.0.254",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    WEB,
    LAN,
    "224.0.0.1",
  ].map((source) =>
    forged(
      `${source} as the source`,
      [frame(udpPacket({ source })), frame(synPacket({ source, text: LOOT }))],
      datagram,
    ),
  ),
  ...["fd6d:7362::3", "fd6d:7362::1", "::1", "::", "fe80::2", WEB_6, "ff02::1", "::ffff:10.209.0.2"].map(
    (source) =>
      forged(
        `${source} as the source`,
        [frame(udpPacket({ source })), frame(synPacket({ source, text: LOOT }))],
        datagram6,
      ),
  ),
  forged(
    "the attacker's own address as the goal too",
    [frame(synPacket({ destination: GUEST })), frame(synPacket({ destination: GUEST_6 }))],
    syn,
  ),
];

const mac = parseMac(GUEST_MAC);
const [gateway, gateway6] = [ip("10.209.0.1"), ip("fd6d:7362::1")];
const arp = (operation: number, sender: string) =>
  frame(buildArp({ operation, senderMac: mac, sender: ip(sender), targetMac: mac, target: gateway }), {
    to: EVERYBODY,
    type: 0x0806,
  });
const icmp6 = (source: string, destination: string, message: Parameters<typeof buildIcmp>[2]) =>
  frame(
    packet(PROTOCOL.icmpv6, buildIcmp(ip(source), ip(destination), message), {
      source,
      destination,
      hopLimit: 255,
    }),
    {
      to: "33:33:00:00:00:01",
    },
  );
const redirect = buildIcmp(ip(GUEST), gateway, {
  type: 5,
  code: 1,
  rest: Uint8Array.from([...ip(LAN).bytes, ...synPacket({ destination: WEB }).subarray(0, 28)]),
});

/** Lies about who is where: after them the way out, which the mark takes, still leads where it did. */
export const LIES: Attack[] = [
  {
    name: "ARP: the gateway is here",
    run: ["frames", arp(2, "10.209.0.1"), arp(1, "10.209.0.1"), syn],
    control: ["frames", syn],
  },
  {
    name: "ARP: everybody is here",
    run: ["frames", arp(2, LAN), arp(2, WEB), arp(2, "10.209.0.254"), syn],
    control: ["frames", syn],
  },
  {
    name: "NDP: the gateway is here",
    run: [
      "frames",
      icmp6(
        "fd6d:7362::1",
        "ff02::1",
        neighbourAdvertisement({ target: gateway6, mac, router: true, solicited: false }),
      ),
      syn,
    ],
    control: ["frames", syn],
  },
  {
    name: "a router's advertisement",
    run: [
      "frames",
      ...["fe80::2", "fd6d:7362::2"].map((source) =>
        icmp6(
          source,
          "ff02::1",
          routerAdvertisement({
            mac,
            mtu: 1280,
            hopLimit: 1,
            lifetimeS: 9000,
            prefix: { address: ip("fd00:99::"), length: 64 },
            dnsServers: [ip(GUEST_6)],
          }),
        ),
      ),
      frame(udpPacket({ source: "fd00:99::5", destination: WEB_6 })),
    ],
    control: ["frames", datagram6],
  },
  {
    name: "a redirect to a private neighbour",
    run: ["frames", frame(packet(PROTOCOL.icmp, redirect, { destination: "10.209.0.1" })), syn],
    control: ["frames", syn],
  },
  {
    name: "a DHCP server's answers",
    run: [
      "frames",
      frame(udpPacket({ destination: WEB, sourcePort: 67, port: 68 })),
      frame(udpPacket({ destination: WEB_6, sourcePort: 547, port: 546 })),
    ],
    control: ["frames", datagram],
  },
];
