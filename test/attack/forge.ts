import { LONE_LINK } from "../../src/engine/network/guest-link.ts";
import { ETHERNET_HEADER, parseMac, writeEthernetHeader } from "../../src/engine/network/packet/ethernet.ts";
import { PROTOCOL } from "../../src/engine/network/packet/ip-packet.ts";
import { buildTcpHeader, SYN } from "../../src/engine/network/packet/tcp.ts";
import { buildUdpHeader } from "../../src/engine/network/packet/udp.ts";
import { ip, ipPacket, type PacketFields } from "../../src/engine/network/testing/packets.ts";
import { LOOT, WEB, WEB_6 } from "./world.ts";

/** Frames of a guest, honest by default and forged where a test says so; hex digits, as the probe takes them. */

export const GUEST_MAC = LONE_LINK.guest.mac;
export const GATEWAY_MAC = LONE_LINK.gateway.mac;
export const GUEST = "10.209.0.2";
export const GUEST_6 = "fd6d:7362::2";

export interface Forged {
  source?: string;
  destination?: string;
  port?: number;
  sourcePort?: number;
  text?: string;
  /** Of TCP. Default: SYN. */
  flags?: number;
  hopLimit?: number;
  fragment?: PacketFields["fragment"];
}

const NO_BYTES = new Uint8Array();
/** Each of a port of its own, so that no flow of an earlier attack takes it up. */
let nextPort = 20_000;

const ends = ({ source, destination }: Forged) => {
  const six = (source ?? destination ?? "").includes(":");
  return {
    source: ip(source ?? (six ? GUEST_6 : GUEST)),
    destination: ip(destination ?? (six ? WEB_6 : WEB)),
  };
};

/** A datagram with its header. */
export function udpBytes(forged: Forged = {}): Uint8Array {
  const { source, destination } = ends(forged);
  const payload = Buffer.from(forged.text ?? LOOT, "latin1");
  const ports = { sourcePort: forged.sourcePort ?? nextPort++, destinationPort: forged.port ?? 5000 };
  return new Uint8Array(Buffer.concat([buildUdpHeader(source, destination, ports, payload), payload]));
}

export function tcpBytes(forged: Forged = {}): Uint8Array {
  const { source, destination } = ends(forged);
  const payload = Buffer.from(forged.text ?? "", "latin1");
  const header = buildTcpHeader(
    source,
    destination,
    {
      sourcePort: forged.sourcePort ?? nextPort++,
      destinationPort: forged.port ?? 80,
      sequence: 1,
      acknowledgment: 0,
      flags: forged.flags ?? SYN,
      window: 65_535,
    },
    payload,
  );
  return new Uint8Array(Buffer.concat([header, payload]));
}

/** An IP packet of these addresses with that in it. */
export function packet(protocol: number, payload: Uint8Array, forged: Forged = {}): Uint8Array {
  const { hopLimit = 64, fragment } = forged;
  const fields = { ...ends(forged), protocol, hopLimit, ...(fragment && { fragment }) };
  return ipPacket(fields, payload);
}

export const udpPacket = (forged: Forged = {}) => packet(PROTOCOL.udp, udpBytes(forged), forged);
export const synPacket = (forged: Forged = {}) => packet(PROTOCOL.tcp, tcpBytes(forged), forged);

/** @param over other ends of the link, and another type than the packet's */
export function frame(
  bytes: Uint8Array,
  over: { from?: string; to?: string; type?: number; padding?: number } = {},
): string {
  const type = over.type ?? (bytes[0]! >>> 4 === 6 ? 0x86dd : 0x0800);
  const header = new Uint8Array(ETHERNET_HEADER);
  const [source, destination] = [over.from ?? GUEST_MAC, over.to ?? GATEWAY_MAC].map(parseMac);
  writeEthernetHeader(header, { source: source!, destination: destination!, type });
  return Buffer.concat([header, bytes, over.padding ? new Uint8Array(over.padding) : NO_BYTES]).toString(
    "hex",
  );
}

/** Of an address and a port, as URLs write it. */
export const joinHostPort = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
