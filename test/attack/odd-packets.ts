import { buildIcmp } from "../../src/engine/network/packet/icmp.ts";
import { PROTOCOL } from "../../src/engine/network/packet/ip-packet.ts";
import { ip } from "../../src/engine/network/testing/packets.ts";
import type { Attack } from "./attack.ts";
import { type Forged, frame, GUEST, packet, synPacket, udpBytes, udpPacket } from "./forge.ts";
import { datagram, datagram6, forged, syn } from "./forged-attack.ts";
import { LAN, LOOT, WEB, WEB_6 } from "./world.ts";

/** Packets that want to go another way, or carry what nobody asked for. Where frames are for somebody public, they carry loot: nothing of it may arrive there. */

/** An IPv4 packet with options, its lengths and sum right. */
function withOptions(options: number[], inner: Forged): Uint8Array {
  const plain = udpPacket(inner);
  const bytes = Buffer.concat([plain.subarray(0, 20), Uint8Array.from(options), plain.subarray(20)]);
  bytes[0] = 0x40 | ((20 + options.length) / 4);
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt16BE(0, 10);
  let sum = 0;
  for (let at = 0; at < 20 + options.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes.writeUInt16BE(~sum & 0xffff, 10);
  return new Uint8Array(bytes);
}

/** An IPv6 packet in which an extension header of this kind stands before the datagram. */
function extended(kind: number, extension: number[], inner: Forged): Uint8Array {
  return packet(kind, Uint8Array.from([PROTOCOL.udp, ...extension, ...udpBytes(inner)]), inner);
}
const lan = [...ip(LAN).bytes];
const lan6 = [...ip("fd00:99::1").bytes];

export const ROUTES: Attack[] = [
  forged(
    "a loose source route over a public address",
    [frame(withOptions([131, 7, 4, ...lan, 0], {}))],
    datagram,
  ),
  forged(
    "a strict source route over a public address",
    [frame(withOptions([137, 7, 4, ...lan, 0], {}))],
    datagram,
  ),
  forged(
    "a routing header of type 0",
    [frame(extended(43, [2, 0, 1, 0, 0, 0, 0, ...lan6], { destination: WEB_6 }))],
    datagram6,
  ),
  forged(
    "a routing header for mobiles",
    [frame(extended(43, [2, 2, 1, 0, 0, 0, 0, ...lan6], { destination: WEB_6 }))],
    datagram6,
  ),
  forged(
    "an option that must be known",
    [frame(extended(60, [0, 0xc3, 4, 0, 0, 0, 0], { destination: WEB_6 }))],
    datagram6,
  ),
  ...[0, 1].map((hopLimit) =>
    forged(
      `a time to live of ${hopLimit}`,
      [
        frame(udpPacket({ hopLimit })),
        frame(synPacket({ hopLimit, text: LOOT })),
        frame(udpPacket({ hopLimit, destination: WEB_6 })),
      ],
      datagram,
    ),
  ),
  forged(
    "a small time to live to a private address",
    [2, 3, 5].map((hopLimit) => frame(synPacket({ hopLimit, destination: LAN }))),
    syn,
  ),
];

/** Packets in packets, of protocols that nobody asked for. */
export const PROTOCOLS: Attack[] = [
  ...[4, 41, 47, 50, 51, 115, 132, 255].map((protocol) =>
    forged(
      `IP protocol ${protocol} around a private packet`,
      [frame(packet(protocol, Uint8Array.from([...udpPacket({ destination: LAN })])))],
      datagram,
    ),
  ),
  forged(
    "IP protocol 4 in IPv6",
    [frame(packet(4, udpPacket({ destination: LAN }), { destination: WEB_6 }))],
    datagram6,
  ),
  {
    name: "an echo request with loot",
    run: [
      "frames",
      ...[LAN, WEB, "10.209.0.254", "127.0.0.1"].map((destination) =>
        frame(
          packet(
            PROTOCOL.icmp,
            buildIcmp(ip(GUEST), ip(destination), { type: 8, code: 0, rest: Buffer.from(`\0\0\0\0${LOOT}`) }),
            { destination },
          ),
        ),
      ),
    ],
    control: ["frames", datagram],
  },
  {
    name: "raw ICMP of the guest's kernel",
    run: ["raw", "1", LAN, "0800f7ff00000000"],
    control: ["frames", syn],
  },
  {
    name: "a raw packet of the guest's kernel",
    run: ["raw", "255", LAN, Buffer.from(udpPacket({ source: LAN, destination: LAN })).toString("hex")],
    control: ["raw", "255", LAN, Buffer.from(udpPacket({ destination: LAN })).toString("hex")],
  },
  ...([0x8100, 0x88a8, 0x8864, 0x8847, 0x0800] as const).map((type) =>
    forged(
      `an Ethernet type of ${type.toString(16)} around a packet`,
      [
        frame(Uint8Array.from([0, 5, 8, 0, ...udpPacket()]), { type }),
        frame(Uint8Array.from([0, 5, 8, 0, ...synPacket({ destination: LAN })]), { type }),
      ],
      datagram,
    ),
  ),
];
