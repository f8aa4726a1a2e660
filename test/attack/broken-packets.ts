import { PROTOCOL } from "../../src/engine/network/packet/ip-packet.ts";
import { ACK, FIN, PSH, RST, SYN } from "../../src/engine/network/packet/tcp.ts";
import type { Attack } from "./attack.ts";
import { type Forged, frame, packet, synPacket, tcpBytes, udpBytes, udpPacket } from "./forge.ts";
import { datagram, datagram6, forged, syn } from "./forged-attack.ts";
import { HOST_PORT, LAN, LOOT, WEB, WEB_6 } from "./world.ts";

/** Packets in pieces, damaged ones, and segments that belong to nothing. Where frames are for somebody public, they carry loot: nothing of it may arrive there. */

/** Pieces of a datagram's or segment's bytes, in the order of their offsets. */
function pieces(
  protocol: number,
  bytes: Uint8Array,
  sizes: number[],
  fields: Forged & { id: number },
): string[] {
  let offset = 0;
  return sizes.map((size, i) => {
    const part = bytes.subarray(offset, offset + size);
    const fragment = { identification: fields.id, offset, more: i < sizes.length - 1 };
    offset += size;
    return frame(packet(protocol, part, { ...fields, fragment }));
  });
}
const wholeTo = (destination: string, id: number) =>
  pieces(PROTOCOL.udp, udpBytes({ destination, text: LOOT.repeat(8) }), [8, 16, 16], { destination, id });
const overlap = (id: number): string[] => {
  // The second piece writes another port over the first one's, once the first has been looked at.
  const [clean, bad] = [
    udpBytes({ port: 5000, text: "x".repeat(24) }),
    udpBytes({ port: 53, text: LOOT.repeat(6) }),
  ];
  const piece = (bytes: Uint8Array, offset: number, more: boolean) =>
    frame(packet(PROTOCOL.udp, bytes, { fragment: { identification: id, offset, more } }));
  return [
    piece(clean.subarray(0, 16), 0, true),
    piece(bad.subarray(8, 24), 8, true),
    piece(bad.subarray(16), 16, false),
  ];
};

export const PIECES: Attack[] = [
  { name: "pieces of a datagram to a private address", run: ["frames", ...wholeTo(LAN, 1)] },
  { name: "the same from the last to the first", run: ["frames", ...wholeTo(LAN, 2).reverse()] },
  {
    name: "a SYN in tiny pieces",
    run: [
      "frames",
      ...pieces(PROTOCOL.tcp, tcpBytes({ destination: LAN }), [8, 8, 4], { destination: LAN, id: 3 }),
    ],
  },
  {
    name: "pieces to the host's loopback",
    run: ["frames", ...wholeTo("127.0.0.1", 4)],
    control: ["frames", ...wholeTo(WEB, 4)],
  },
  forged("pieces that overlap", overlap(5), datagram),
  forged("a piece without its first", [wholeTo(WEB, 6)[1]!, wholeTo(WEB, 6)[2]!], datagram),
  forged(
    "pieces from two sources",
    [
      wholeTo(WEB, 7)[0]!,
      ...pieces(PROTOCOL.udp, udpBytes({ text: LOOT.repeat(8) }), [8, 16, 16], {
        source: "10.209.0.3",
        id: 7,
      }).slice(1),
    ],
    datagram,
  ),
  forged(
    "a piece beyond the end of what can be",
    [
      frame(
        packet(PROTOCOL.udp, udpBytes().subarray(0, 8), {
          fragment: { identification: 8, offset: 0, more: true },
        }),
      ),
      frame(
        packet(PROTOCOL.udp, Buffer.from(LOOT.repeat(8)), {
          fragment: { identification: 8, offset: 65_528, more: false },
        }),
      ),
    ],
    datagram,
  ),
];

function damaged(bytes: Uint8Array, at: number, value: number): string {
  const copy = Uint8Array.from(bytes);
  copy[at] = value;
  return frame(copy);
}

export const DAMAGED: Attack[] = [
  forged("a header with a wrong sum", [damaged(udpPacket(), 10, 0x77)], datagram),
  forged("a datagram with a wrong sum", [damaged(udpPacket(), 26, 0x77)], datagram),
  forged("a length beyond the frame", [damaged(udpPacket(), 2, 0x7f)], datagram),
  forged(
    "a version that is neither",
    [frame(Uint8Array.from([0x55, ...udpPacket().subarray(1)]), { type: 0x0800 })],
    datagram,
  ),
  forged(
    "version 6 in a frame of version 4",
    [frame(udpPacket({ destination: WEB_6 }), { type: 0x0800 })],
    datagram6,
  ),
  ...[
    ["an ACK", ACK],
    ["data out of nowhere", PSH | ACK],
    ["a FIN", FIN | ACK],
    ["nothing set", 0],
    ["everything set", 0xff],
    ["SYN and FIN", SYN | FIN],
    ["SYN and RST", SYN | RST],
    ["SYN with data", SYN],
  ].map(([name, flags]) =>
    forged(
      `TCP to a private address: ${name}`,
      [frame(synPacket({ destination: LAN, port: HOST_PORT, flags: Number(flags), text: LOOT }))],
      syn,
    ),
  ),
  forged(
    "TCP to port 0",
    [
      frame(synPacket({ destination: LAN, port: 0 })),
      frame(synPacket({ destination: WEB, port: 0, text: LOOT })),
    ],
    syn,
  ),
];
