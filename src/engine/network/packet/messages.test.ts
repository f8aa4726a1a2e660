import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { anyIpv4, anyIpv6, ip, ipPacket, spoilt } from "../testing/packets.ts";
import { ARP_REQUEST, buildArp, parseArp } from "./arp.ts";
import { parseEthernet, parseMac } from "./ethernet.ts";
import { buildIcmp, errorBody, parseIcmp, quoteOf } from "./icmp.ts";
import { type IpPacket, PROTOCOL } from "./ip-packet.ts";
import { parseIpv4 } from "./ipv4.ts";
import { parseIpv6 } from "./ipv6.ts";
import {
  isRouterSolicitation,
  neighbourAdvertisement,
  parseNeighbourSolicitation,
  routerAdvertisement,
} from "./ndp.ts";
import { buildUdpHeader, parseUdp } from "./udp.ts";

const MAC = parseMac("02:6d:73:62:00:01");
const pair = fc.oneof(fc.tuple(anyIpv4, anyIpv4), fc.tuple(anyIpv6, anyIpv6));

function received(bytes: Uint8Array): IpPacket {
  return (parseIpv4(bytes) ?? parseIpv6(bytes))!;
}

test("MAC addresses are read or refused", () => {
  expect([...MAC]).toEqual([2, 0x6d, 0x73, 0x62, 0, 1]);
  for (const text of ["", "02:6d:73:62:00", "02-6d-73-62-00-01", "02:6d:73:62:00:0g"])
    expect(() => parseMac(text)).toThrow(RangeError);
});

describe("ARP", () => {
  const request = buildArp({
    operation: ARP_REQUEST,
    senderMac: MAC,
    sender: ip("10.0.0.2"),
    targetMac: new Uint8Array(6),
    target: ip("10.0.0.1"),
  });

  test("a request as a kernel sends it", () => {
    expect(Buffer.from(request).toString("hex")).toBe(
      "0001080006040001026d736200010a0000020000000000000a000001",
    );
    expect(parseArp(request)?.target.text).toBe("10.0.0.1");
  });

  test("of other networks, or cut off, is none", () => {
    for (const at of [1, 2, 4, 5]) {
      const other = Uint8Array.from(request);
      other[at]! ^= 0x10;
      expect(parseArp(other)).toBeUndefined();
    }
    expect(parseArp(request.subarray(0, 27))).toBeUndefined();
  });
});

describe("UDP", () => {
  test("reads what is written", () => {
    fc.assert(
      fc.property(pair, fc.nat(65_535), fc.uint8Array({ maxLength: 200 }), ([from, to], port, payload) => {
        const header = buildUdpHeader(from, to, { sourcePort: port, destinationPort: 53 }, payload);
        const packet = received(ipPacket({ source: from, destination: to, protocol: 17 }, header, payload));
        expect(parseUdp(packet)).toEqual({
          sourcePort: port,
          destinationPort: 53,
          payload: new Uint8Array(payload),
        });
        packet.payload[0]! ^= 1;
        expect(parseUdp(packet)).toBeUndefined();
      }),
    );
  });

  test("may have no checksum in IPv4, and must have one in IPv6", () => {
    const bare = Uint8Array.of(0, 1, 0, 2, 0, 9, 0, 0, 5);
    const [v4, v6] = [
      { source: ip("10.0.0.1"), destination: ip("10.0.0.2"), protocol: 17 },
      { source: ip("fd00::1"), destination: ip("fd00::2"), protocol: 17 },
    ];
    expect(parseUdp(received(ipPacket(v4, bare)))?.payload).toEqual(Uint8Array.of(5));
    expect(parseUdp(received(ipPacket(v6, bare)))).toBeUndefined();
  });
});

describe("ICMP", () => {
  test("reads what is written", () => {
    fc.assert(
      fc.property(pair, fc.uint8Array({ minLength: 4, maxLength: 200 }), ([from, to], rest) => {
        const protocol = from.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
        const bytes = buildIcmp(from, to, { type: 8, code: 3, rest });
        const packet = received(ipPacket({ source: from, destination: to, protocol }, bytes));
        expect(parseIcmp(packet)).toEqual({ type: 8, code: 3, rest: new Uint8Array(rest) });
        packet.payload[0]! ^= 1;
        expect(parseIcmp(packet)).toBeUndefined();
      }),
    );
  });

  test("an error quotes as much as every host takes in one piece", () => {
    for (const [source, destination, size] of [
      ["10.0.0.1", "10.0.0.2", 576 - 20],
      ["fd00::1", "fd00::2", 1280 - 40],
    ] as const) {
      const fields = { source: ip(source), destination: ip(destination), protocol: 17 };
      const bytes = ipPacket(fields, new Uint8Array(3000).fill(7));
      const quote = quoteOf(received(bytes));
      expect(quote).toEqual(Uint8Array.from(bytes.subarray(0, size - 8)));
      expect(4 + errorBody(quote).length).toBe(size);
    }
  });
});

describe("NDP", () => {
  const address = ip("fd6d:7362::1");
  const solicitation = (options: number[]) => ({
    type: 135,
    code: 0,
    rest: Uint8Array.from([0, 0, 0, 0, ...address.bytes, ...options]),
  });

  test("a solicitation with options that hold", () => {
    expect(parseNeighbourSolicitation(solicitation([1, 1, 2, 0, 0, 0, 0, 2]))?.target.text).toBe(
      address.text,
    );
    for (const options of [[1, 0, 0, 0, 0, 0, 0, 0], [1, 2, 0, 0, 0, 0, 0, 0], [1]])
      expect(parseNeighbourSolicitation(solicitation(options))).toBeUndefined();
    expect(isRouterSolicitation({ type: 133, code: 0, rest: new Uint8Array(4) })).toBe(true);
    expect(isRouterSolicitation({ type: 133, code: 0, rest: new Uint8Array(5) })).toBe(false);
  });

  test("advertisements are what RFC 4861 and RFC 8106 draw", () => {
    const neighbour = neighbourAdvertisement({ target: address, mac: MAC, router: true, solicited: true });
    expect(Buffer.from(neighbour.rest).toString("hex")).toBe(
      "e0000000fd6d73620000000000000000000000010201026d73620001",
    );
    const router = routerAdvertisement({
      mac: MAC,
      mtu: 15_800,
      hopLimit: 64,
      lifetimeS: 1800,
      prefix: { address, length: 62 },
      dnsServers: [address],
    });
    expect(Buffer.from(router.rest).toString("hex")).toBe(
      [
        "400007080000000000000000",
        "0101026d73620001",
        "0501000000003db8",
        "03043e800000070800000708",
        "00000000fd6d7362000000000000000000000000",
        "1903000000000708fd6d7362000000000000000000000001",
      ].join(""),
    );
  });
});

test("whatever comes is read or refused", () => {
  const fields = fc.constantFrom(
    { source: ip("10.0.0.1"), destination: ip("10.0.0.2"), protocol: 17 },
    { source: ip("fd00::1"), destination: ip("fd00::2"), protocol: 17 },
  );
  fc.assert(
    fc.property(fields, spoilt(fc.uint8Array({ maxLength: 200 })), (ends, bytes) => {
      parseEthernet(bytes);
      parseArp(bytes);
      const packet = received(ipPacket(ends, bytes));
      const payload = parseUdp(packet)?.payload;
      if (payload !== undefined) expect(payload.length).toBeLessThanOrEqual(bytes.length - 8);
      parseIcmp(packet);
      const message = { type: 135, code: 0, rest: bytes };
      parseNeighbourSolicitation(message);
      isRouterSolicitation(message);
    }),
  );
});
