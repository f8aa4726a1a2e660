import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished } from "vitest";
import { type NetworkSpecInput, networkSpec, ruleTextOf } from "../../../contract/network.ts";
import type { NetworkRecord } from "../../../contract/network-record.ts";
import { buildMessage, type DnsMessage, parseMessage } from "../dns/message.ts";
import { TYPE } from "../dns/record-types.ts";
import { readFrame } from "../gateway/testing/wired-gateway.ts";
import { Groups } from "../group/group.ts";
import { groupLink, LONE_LINK } from "../guest-link.ts";
import { FrameLink } from "../link/frame-link.ts";
import { ETHERNET_HEADER, parseMac } from "../packet/ethernet.ts";
import { buildIcmp, type IcmpMessage, parseIcmp } from "../packet/icmp.ts";
import { type IpPacket, PROTOCOL } from "../packet/ip-packet.ts";
import { buildTcpHeader, SYN } from "../packet/tcp.ts";
import { buildUdpHeader, parseUdp } from "../packet/udp.ts";
import type { TcpConnection } from "../tcp/connection.ts";
import { TcpLayer } from "../tcp/layer.ts";
import { linkToText } from "../worker/messages.ts";
import { SandboxStack } from "../worker/sandbox-stack.ts";
import { queryOf } from "./dns-messages.ts";
import { ethernetFrame, ip, ipPacket, type PacketFields } from "./packets.ts";

/**
 * A sandbox's whole stack with a guest behind it that is no kernel: its connections are those of a TCP layer, everything else it
 * writes by hand. What it is asked for by others it accepts, and gives back what it reads.
 */

const MAC = parseMac(LONE_LINK.guest.mac);
const GATEWAY_MAC = parseMac(LONE_LINK.gateway.mac);

export interface GuestOptions {
  name: string;
  number: number;
  network?: NetworkSpecInput;
}

export class GroupGuest {
  readonly name: string;
  readonly addresses: { 4: string; 6: string };
  readonly records: NetworkRecord[] = [];
  /** What is not TCP. */
  readonly packets: IpPacket[] = [];
  /** Ports that it refuses connections to. */
  readonly closed = new Set<number>();
  /** Who connected: `address:port`. */
  readonly callers: string[] = [];
  stack!: SandboxStack;
  readonly #tcp: TcpLayer;
  #wire!: FrameLink;
  #port = 50_000;

  private constructor({ name, number }: GuestOptions) {
    this.name = name;
    const [v4, v6] = groupLink(number).group!;
    this.addresses = { 4: v4!.address.text, 6: v6!.address.text };
    this.#tcp = new TcpLayer({
      mtu: LONE_LINK.mtu,
      send: (source, destination, ...parts) => {
        this.packet({ source, destination, protocol: PROTOCOL.tcp }, ...parts);
        return true;
      },
      request: (request) => {
        if (this.closed.has(request.destinationPort)) return request.reset();
        this.callers.push(`${request.source.text}:${request.destinationPort}`);
        const connection = request.accept();
        connection.on("error", () => {});
        connection.pipe(connection);
      },
    });
  }

  static async open(groups: Groups, options: GuestOptions): Promise<GroupGuest> {
    const guest = new GroupGuest(options);
    const { name, number, network = { group: "g" } } = options;
    const directory = await mkdtemp(join(tmpdir(), "msb-group-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const path = join(directory, "net");
    const server = createServer((socket) => {
      guest.#wire = new FrameLink(socket, LONE_LINK.mtu + ETHERNET_HEADER, {
        onFrame: (frame) => guest.#receive(frame),
        onDrain: () => {},
        onClose: () => {},
      });
    }).listen(path);
    await once(server, "listening");
    const { rules, ...spec } = networkSpec.parse(network);
    guest.stack = await SandboxStack.open(
      {
        id: name,
        name,
        link: linkToText(spec.group === undefined ? LONE_LINK : groupLink(number)),
        spec: { ...spec, rules: rules.map(ruleTextOf) },
        settings: { sets: {} },
        spared: false,
      },
      { onRecord: (record) => guest.records.push(record), onFlows: () => {}, onEvent: () => {} },
      groups,
    );
    onTestFinished(async () => {
      await guest.stack[Symbol.asyncDispose]();
      guest.#tcp.close();
      server.close();
    });
    await guest.stack.connect(path, 5000);
    await expect.poll(() => guest.#wire !== undefined).toBe(true);
    return guest;
  }

  /** Other rules, from now on. */
  update(rules: string[], network: NetworkSpecInput = { group: "g" }): void {
    this.stack.update({ ...networkSpec.parse(network), rules }, { sets: {} });
  }

  /** An IP packet, in a frame from and to whom it should be. */
  packet(fields: PacketFields, ...payload: Uint8Array[]): void {
    this.frame(ethernetFrame(MAC, GATEWAY_MAC, ipPacket(fields, ...payload)));
  }

  frame(bytes: Uint8Array): void {
    this.#wire.send([bytes]);
  }

  /** @param from another address of its own. Default: that of the group */
  async connect(to: string, port: number, from = this.addresses[ip(to).version]): Promise<TcpConnection> {
    const flow = { source: ip(from), sourcePort: this.#port++, destination: ip(to), destinationPort: port };
    const connection = await this.#tcp.connect(flow, AbortSignal.timeout(10_000));
    // Whoever wants to hear of it does.
    connection.on("error", () => {});
    return connection;
  }

  /** Asks for a connection and leaves it at that. */
  syn(to: string, port: number, from = this.addresses[ip(to).version]): void {
    const [destination, source] = [ip(to), ip(from)];
    const fields = {
      sourcePort: this.#port++,
      destinationPort: port,
      sequence: 7,
      acknowledgment: 0,
      flags: SYN,
      window: 9,
    };
    const header = buildTcpHeader(source, destination, fields, new Uint8Array(0));
    this.packet({ source, destination, protocol: PROTOCOL.tcp }, header);
  }

  /** What comes back of what it says. */
  async exchange(to: string, port: number, words: string, from?: string): Promise<string> {
    const connection = await this.connect(to, port, from);
    connection.end(words);
    return await text(connection);
  }

  udp(to: string, port: number, words: string, { from = "", sourcePort = 4000 } = {}): void {
    const [destination, source] = [ip(to), ip(from || this.addresses[ip(to).version])];
    const payload = Buffer.from(words);
    const header = buildUdpHeader(source, destination, { sourcePort, destinationPort: port }, payload);
    this.packet({ source, destination, protocol: PROTOCOL.udp }, header, payload);
  }

  icmp(to: string, message: IcmpMessage, from = this.addresses[ip(to).version], hopLimit = 64): void {
    const [destination, source] = [ip(to), ip(from)];
    const protocol = source.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    this.packet({ source, destination, protocol, hopLimit }, buildIcmp(source, destination, message));
  }

  /** The datagrams that it got: `from:port to-port words`. */
  datagrams(): string[] {
    return this.packets.flatMap((packet) => {
      const datagram = packet.protocol === PROTOCOL.udp ? parseUdp(packet) : undefined;
      if (datagram === undefined) return [];
      const { sourcePort, destinationPort, payload } = datagram;
      return [`${packet.source.text}:${sourcePort} ${destinationPort} ${Buffer.from(payload)}`];
    });
  }

  /** The ICMP messages that it got: `from type/code`. */
  icmps(): string[] {
    return this.packets.flatMap((packet) => {
      const message = packet.protocol === PROTOCOL.udp ? undefined : parseIcmp(packet);
      return message === undefined ? [] : [`${packet.source.text} ${message.type}/${message.code}`];
    });
  }

  /** When all that it sent was seen, and all that it was to get is here: what the gateway answers comes in turn. */
  async settled(): Promise<void> {
    const sequence = this.#port++;
    const rest = Uint8Array.of(sequence >>> 8, sequence & 0xff, 1, 2);
    const own = ip("10.209.0.2");
    this.packet(
      { source: own, destination: ip("10.209.0.1"), protocol: PROTOCOL.icmp },
      buildIcmp(own, ip("10.209.0.1"), { type: 8, code: 0, rest }),
    );
    const answer = (packet: IpPacket) => {
      const message = packet.protocol === PROTOCOL.icmp ? parseIcmp(packet) : undefined;
      return message?.type === 0 && message.rest[0] === rest[0] && message.rest[1] === rest[1];
    };
    await expect.poll(() => this.packets.findIndex(answer)).toBeGreaterThanOrEqual(0);
    this.packets.splice(this.packets.findIndex(answer), 1);
  }

  /** Asks the gateway for a name. */
  async ask(name: string, type: number = TYPE.A): Promise<DnsMessage> {
    const source = ip("10.209.0.2");
    const gateway = ip("10.209.0.1");
    const payload = buildMessage(queryOf(name, type));
    const sourcePort = this.#port++;
    const header = buildUdpHeader(source, gateway, { sourcePort, destinationPort: 53 }, payload);
    this.packet({ source, destination: gateway, protocol: PROTOCOL.udp }, header, payload);
    const answer = () =>
      this.packets
        .map((packet) => (packet.protocol === PROTOCOL.udp ? parseUdp(packet) : undefined))
        .find((datagram) => datagram?.destinationPort === sourcePort);
    await expect.poll(answer).toBeDefined();
    return parseMessage(answer()!.payload)!;
  }

  #receive(bytes: Uint8Array): void {
    const packet = readFrame(bytes);
    if (packet === undefined) return;
    if (packet.protocol === PROTOCOL.tcp)
      this.#tcp.receive(packet.source, packet.destination, packet.payload);
    else this.packets.push(packet);
  }
}

/** Two of the group `g`, and how to make more. */
export async function groupPair(rules: { web?: string[]; db?: string[] } = {}) {
  const groups = new Groups();
  const open = (name: string, number: number, given: string[] = [], group = "g") =>
    GroupGuest.open(groups, { name, number, network: { group, rules: given } });
  const [web, db] = [await open("web", 2, rules.web), await open("db", 3, rules.db)];
  return { groups, open, web, db };
}
