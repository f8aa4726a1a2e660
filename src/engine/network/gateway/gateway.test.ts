import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LONE_LINK } from "../guest-link.ts";
import { parseMac, writeEthernetHeader } from "../packet/ethernet.ts";
import { PROTOCOL } from "../packet/ip-packet.ts";
import { buildTcpHeader, parseTcp, SYN } from "../packet/tcp.ts";
import { buildUdpHeader, parseUdp } from "../packet/udp.ts";
import { ethernetFrame, ip, ipPacket, spoilt } from "../testing/packets.ts";
import {
  GATEWAY,
  GATEWAY_MAC,
  GUEST,
  GUEST_MAC,
  REMOTE,
  readFrame,
  WiredGateway,
} from "./testing/wired-gateway.ts";

const PING = { type: 8, code: 0, rest: new Uint8Array(4) };

describe("who sends", () => {
  const datagram = new Uint8Array([0, 1, 0, 2, 0, 8, 0, 0]);
  const own = { source: GUEST[4], destination: REMOTE[4], protocol: 17 };

  test.each([
    [
      "another MAC",
      "source-mac",
      ethernetFrame(parseMac("02:6d:73:62:00:03"), GATEWAY_MAC, ipPacket(own, datagram)),
    ],
    ["a frame for another MAC", "destination", ethernetFrame(GUEST_MAC, GUEST_MAC, ipPacket(own, datagram))],
    ...(["10.209.0.3", "10.209.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.1"] as const).map(
      (source) => [source, "source-address", packetFrom(source, REMOTE[4].text)] as const,
    ),
    ...(["fd6d:7362::3", "::1", "::", "::ffff:10.209.0.2", "2001:db8::2"] as const).map(
      (source) => [source, "source-address", packetFrom(source, REMOTE[6].text)] as const,
    ),
    ["a packet for the guest itself", "destination", packetFrom("10.209.0.2", "10.209.0.2")],
    ["another protocol", "protocol", Uint8Array.from([...GATEWAY_MAC, ...GUEST_MAC, 0x88, 0xcc, 0, 0])],
    ["half a header", "malformed", GATEWAY_MAC],
  ] as const)("%s is dropped, and counted", (_, reason, frame) => {
    const wired = new WiredGateway();
    wired.gateway.receive(frame);
    expect(wired.gateway.drops.all()).toEqual({ [reason]: 1 });
    expect([wired.frames, wired.flows, wired.requests]).toEqual([[], [], []]);
  });

  function packetFrom(from: string, to: string): Uint8Array {
    const [source, destination] = [ip(from), ip(to)];
    const payload = Uint8Array.of(9);
    const header = buildUdpHeader(source, destination, { sourcePort: 1, destinationPort: 2 }, payload);
    return ethernetFrame(
      GUEST_MAC,
      GATEWAY_MAC,
      ipPacket({ source, destination, protocol: 17 }, header, payload),
    );
  }

  test.each([
    [68, 4],
    [547, 6],
  ] as const)("a server that gives out addresses is dropped (to port %d)", (port, version) => {
    const wired = new WiredGateway();
    wired.udp(REMOTE[version], port, new Uint8Array(300), { sourcePort: version === 4 ? 67 : 547 });
    expect(wired.gateway.drops.all()).toEqual({ rogue: 1 });
    expect(wired.flows).toEqual([]);
  });

  test("a piece from another address is not kept", () => {
    const wired = new WiredGateway();
    const fragment = { identification: 1, offset: 0, more: true };
    wired.packet({ ...own, source: ip("10.209.0.3"), fragment }, new Uint8Array(8));
    wired.packet(
      { ...own, source: ip("10.209.0.3"), fragment: { ...fragment, offset: 8, more: false } },
      datagram,
    );
    expect([wired.gateway.drops.all(), wired.flows]).toEqual([{ "source-address": 2 }, []]);
  });

  test.each(["fd6d:7362::3", "2001:db8::2", "::1"])("%s gets no answers on the link either", (source) => {
    const wired = new WiredGateway();
    const options = { source: ip(source), hopLimit: 255 };
    const target = Uint8Array.from([0, 0, 0, 0, ...GATEWAY[6].bytes]);
    wired.icmp(GATEWAY[6], { type: 135, code: 0, rest: target }, options);
    wired.icmp(ip("ff02::2"), { type: 133, code: 0, rest: new Uint8Array(4) }, options);
    wired.icmp(GATEWAY[6], { type: 128, code: 0, rest: new Uint8Array(4) }, options);
    expect([wired.gateway.drops.all(), wired.frames]).toEqual([{ "source-address": 3 }, []]);
  });

  test("what is for many goes nowhere", () => {
    const wired = new WiredGateway();
    for (const address of ["224.0.0.251", "255.255.255.255", "10.209.0.255", "ff02::fb"])
      wired.udp(ip(address), 5353, Uint8Array.of(1));
    wired.icmp(ip("10.209.0.255"), PING);
    expect([wired.gateway.drops.all(), wired.frames, wired.flows]).toEqual([{ multicast: 5 }, [], []]);
  });
});

test("what is for an address of the reserved ones is decided upon as others are", () => {
  const wired = new WiredGateway();
  wired.udp(ip("240.0.0.1"), 9, Uint8Array.of(1));
  expect(wired.flows).toHaveLength(1);
});

describe("what is told", () => {
  test.each([
    ["10.209.0.77", 64, 3, 1],
    ["fd6d:7362::77", 64, 1, 3],
    ["fe80::77", 64, 1, 3],
    ["198.51.100.7", 1, 11, 0],
    ["2001:db8::7", 1, 3, 0],
  ])("%s with hop limit %d: type %d, code %d", (to, hopLimit, type, code) => {
    const wired = new WiredGateway();
    wired.udp(ip(to), 9, Uint8Array.of(1), { hopLimit });
    const error = wired.icmpReceived();
    expect([error.type, error.code, error.from]).toEqual([type, code, GATEWAY[ip(to).version].text]);
  });

  test.each([
    ["the router", "fe80::1", 6, 1, 4],
    ["the router", "fe80::1", 17, 1, 4],
    ["the router, with a protocol that nobody knows", "fe80::1", 132, 4, 1],
    ["nobody", "fe80::77", 6, 1, 3],
    ["an address beyond the link", "2001:db8::7", 6, 1, 3],
  ])("from a link-local address to %s (%s, protocol %d): type %d, code %d", (_, to, protocol, type, code) => {
    const wired = new WiredGateway();
    const source = ip("fe80::5");
    wired.packet({ source, destination: ip(to), protocol }, new Uint8Array(20));
    const error = wired.icmpReceived();
    expect([error.type, error.code, error.to]).toEqual([type, code, source.text]);
    wired.packet({ source, destination: ip("ff02::fb"), protocol }, new Uint8Array(20));
    expect([wired.frames.length, wired.requests, wired.flows]).toEqual([0, [], []]);
  });

  test.each([
    [4, 3, 2, 0],
    [6, 4, 1, 6],
  ] as const)("a protocol that nobody knows, IPv%d", (version, type, code, pointer) => {
    const wired = new WiredGateway();
    wired.packet({ source: GUEST[version], destination: REMOTE[version], protocol: 132 }, new Uint8Array(12));
    const error = wired.icmpReceived();
    expect([error.type, error.code, [...error.rest.subarray(0, 4)]]).toEqual([
      type,
      code,
      [0, 0, 0, pointer],
    ]);
  });

  test("not about errors, and only so many at once", async () => {
    const wired = new WiredGateway();
    wired.icmp(REMOTE[4], { type: 11, code: 0, rest: new Uint8Array(40) });
    expect(wired.frames).toEqual([]);
    for (let i = 0; i < 1000; i++) wired.icmp(REMOTE[4], PING);
    const atOnce = wired.frames.length;
    expect(atOnce).toBe(1000 - wired.gateway.drops.get("rate-limit"));
    expect(atOnce).toBeLessThan(300);
    await wired.clock.pass(100);
    wired.icmp(REMOTE[4], PING);
    expect(wired.frames.length).toBe(atOnce + 1);
  });

  test.each([4, 6] as const)("of a TCP request, with the segment it is about, IPv%d", (version) => {
    const wired = new WiredGateway();
    const [source, destination] = [GUEST[version], REMOTE[version]];
    const fields = {
      sourcePort: 4000,
      destinationPort: 80,
      sequence: 77,
      acknowledgment: 0,
      flags: SYN,
      window: 9,
    };
    const syn = buildTcpHeader(source, destination, fields, new Uint8Array(0));
    const packet = ipPacket({ source, destination, protocol: PROTOCOL.tcp }, syn);
    wired.gateway.receive(ethernetFrame(GUEST_MAC, GATEWAY_MAC, packet));
    const [request] = wired.requests;
    wired.gateway.unreachable(request!, "prohibited");
    request!.drop();
    const error = wired.icmpReceived();
    expect([error.type, error.code]).toEqual(version === 4 ? [3, 13] : [1, 1]);
    expect(error.rest.subarray(4)).toEqual(packet);
  });
});

test("a TCP request that is accepted gets its answer in a packet", async () => {
  const wired = new WiredGateway();
  const [source, destination] = [GUEST[6], REMOTE[6]];
  const fields = {
    sourcePort: 4000,
    destinationPort: 80,
    sequence: 77,
    acknowledgment: 0,
    flags: SYN,
    window: 9,
  };
  const syn = buildTcpHeader(source, destination, fields, new Uint8Array(0));
  wired.packet({ source, destination, protocol: PROTOCOL.tcp }, syn);
  const connection = wired.requests[0]!.accept();
  connection.on("error", () => {});
  await wired.clock.pass(1);
  const [answer] = wired.received();
  expect(parseTcp(answer!.payload)).toMatchObject({ sourcePort: 80, acknowledgment: 78 });
  wired.gateway[Symbol.dispose]();
});

test("a full link drops what cannot wait, until it has room", () => {
  const wired = new WiredGateway();
  wired.room = false;
  wired.icmp(GATEWAY[4], PING);
  for (let i = 0; i < 5; i++) wired.icmp(GATEWAY[4], PING);
  expect([wired.frames.length, wired.gateway.drops.get("link-full")]).toEqual([1, 5]);
  wired.room = true;
  wired.gateway.resume();
  wired.icmp(GATEWAY[4], PING);
  expect(wired.frames.length).toBe(2);
});

test("what is longer than the MTU comes in pieces that make it whole", () => {
  for (const [version, remote] of [
    [4, "198.51.100.7"],
    [6, "2001:db8::7"],
  ] as const) {
    const wired = new WiredGateway({ link: { ...LONE_LINK, mtu: 1500 } });
    wired.udp(ip(remote), 9, Uint8Array.of(1));
    const payload = new Uint8Array(20_000).map((_, i) => i % 251);
    expect(wired.flows[0]!.reply(payload)).toBe(true);
    const longest = Math.max(...wired.frames.map(({ length }) => length));
    expect(longest).toBeLessThanOrEqual(1514);
    const pieces = wired.received().map((packet) => packet!);
    const whole = Buffer.concat(pieces.map((packet) => packet.payload));
    const offsets = pieces.map(({ fragment }) => fragment!.offset);
    expect(offsets).toEqual(pieces.map((_, i) => i * pieces[0]!.payload.length));
    expect(pieces.map(({ fragment }) => fragment!.more)).toEqual(pieces.map((_, i) => i < pieces.length - 1));
    const datagram = readFrame(
      ethernetFrame(
        GATEWAY_MAC,
        GUEST_MAC,
        ipPacket({ source: ip(remote), destination: GUEST[version], protocol: 17 }, whole),
      ),
    );
    expect(Buffer.compare(parseUdp(datagram!)!.payload, payload)).toBe(0);
  }
});

describe("whatever a guest sends", () => {
  const body = fc.uint8Array({ maxLength: 200 });
  const addresses = fc.constantFrom<[4 | 6, string]>(
    [4, "10.209.0.1"],
    [4, "198.51.100.7"],
    [4, "255.255.255.255"],
    [6, "fd6d:7362::1"],
    [6, "2001:db8::7"],
    [6, "ff02::1"],
  );
  const packet = fc
    .tuple(
      addresses,
      fc.constantFrom(1, 6, 17, 58, 44, 0, 43, 60, 50, 132),
      body,
      fc.constantFrom(255, 64, 1, 0),
    )
    .map(([[version, to], protocol, payload, hopLimit]) =>
      ipPacket({ source: GUEST[version], destination: ip(to), protocol, hopLimit }, payload),
    );
  const datagram = fc
    .tuple(addresses, fc.constantFrom(53, 67, 68, 9), body)
    .map(([[version, to], port, payload]) => {
      const [source, destination] = [GUEST[version], ip(to)];
      const header = buildUdpHeader(source, destination, { sourcePort: 68, destinationPort: port }, payload);
      return ipPacket({ source, destination, protocol: 17 }, header, payload);
    });
  const raw = fc.tuple(fc.constantFrom(0x0800, 0x0806, 0x86dd, 0x8100), body).map(([type, payload]) => {
    const frame = new Uint8Array(14 + payload.length);
    writeEthernetHeader(frame, { source: GUEST_MAC, destination: GATEWAY_MAC, type });
    frame.set(payload, 14);
    return frame;
  });
  const framed = fc.oneof(packet, datagram).map((bytes) => ethernetFrame(GUEST_MAC, GATEWAY_MAC, bytes));

  test("nothing throws, and every answer is one that a kernel takes", () => {
    const wired = new WiredGateway({ udp: { flows: 8 } });
    fc.assert(
      fc.property(fc.oneof(framed, spoilt(framed), spoilt(raw)), (frame) => {
        wired.gateway.receive(frame);
        for (const request of wired.requests.splice(0)) {
          wired.gateway.unreachable(request, "host");
          request.drop();
        }
        for (const flow of wired.flows.splice(0)) flow.unreachable("port");
        expect(wired.frames.length).toBeLessThan(8);
        for (const answer of wired.frames.splice(0)) {
          const isArp = answer[12] === 8 && answer[13] === 6;
          if (!isArp) expect(readFrame(answer)).toBeDefined();
        }
        expect(wired.gateway.udpFlows).toBeLessThanOrEqual(8);
      }),
      { numRuns: 5_000 },
    );
    wired.gateway[Symbol.dispose]();
  });
});
