import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { anyIpv4, anyIpv6, ip, ipPacket, spoilt } from "../testing/packets.ts";
import { checksumOf, onesSum } from "./checksum.ts";
import { isLinkLocal, isMulticast } from "./ip-packet.ts";
import { parseIpv4 } from "./ipv4.ts";
import { parseIpv6, writeFragmentHeader } from "./ipv6.ts";

const payload = fc.uint8Array({ maxLength: 300 });
const V4 = { source: ip("192.0.2.1"), destination: ip("198.51.100.7"), protocol: 17 };
const V6 = { source: ip("2001:db8::1"), destination: ip("2001:db8::2"), protocol: 17 };

describe("IPv4", () => {
  test("reads what is written, and leaves padding out", () => {
    fc.assert(
      fc.property(
        anyIpv4,
        anyIpv4,
        fc.nat(255),
        payload,
        fc.nat(20),
        (source, destination, protocol, body, pad) => {
          const bytes = Buffer.concat([
            ipPacket({ source, destination, protocol }, body),
            new Uint8Array(pad),
          ]);
          const packet = parseIpv4(bytes)!;
          expect([packet.source.text, packet.destination.text]).toEqual([source.text, destination.text]);
          expect(packet.protocol).toBe(protocol);
          expect(packet.fragment).toBeUndefined();
          expect([...packet.payload]).toEqual([...body]);
        },
      ),
    );
  });

  test("reads pieces", () => {
    const fragment = { identification: 0xbeef, offset: 1480, more: true };
    expect(parseIpv4(ipPacket({ ...V4, fragment }, new Uint8Array(8)))?.fragment).toEqual(fragment);
  });

  test.each([
    ["a wrong checksum", (b: Uint8Array) => (b[10]! ^= 1)],
    ["another version", (b: Uint8Array) => (b[0] = 0x55)],
    ["a header beyond its packet", (b: Uint8Array) => (b[0] = 0x4f)],
    ["a header that is too short", (b: Uint8Array) => (b[0] = 0x44)],
    ["a packet longer than what came", (b: Uint8Array) => (b[3] = 200)],
    ["a packet shorter than its header", (b: Uint8Array) => (b[3] = 19)],
    ["a reserved flag", (b: Uint8Array) => (b[6] = 0x80)],
  ])("refuses %s", (_, spoil) => {
    const bytes = ipPacket(V4, new Uint8Array(20));
    spoil(bytes);
    expect(parseIpv4(resummed(bytes, spoil))).toBeUndefined();
  });

  test.each([
    [[1, 1, 1, 0], true],
    [[148, 4, 0, 0], true],
    [[131, 4, 4, 0], false],
    [[137, 3, 4, 0], false],
    [[148, 0, 0, 0], false],
    [[148, 5, 0, 0], false],
    [[1, 1, 1, 148], false],
  ])("passes options over, but for routes and nonsense: %j", (options, taken) => {
    const plain = ipPacket(V4, Uint8Array.from([...options, 7, 7]));
    plain[0] = 0x46;
    const packet = parseIpv4(resummed(plain));
    expect(packet && [...packet.payload]).toEqual(taken ? [7, 7] : undefined);
  });

  function resummed(bytes: Uint8Array, spoil?: unknown): Uint8Array {
    const wrongOnPurpose = String(spoil).includes("b[10]");
    if (wrongOnPurpose) return bytes;
    bytes.set([0, 0], 10);
    const sum = checksumOf(onesSum(bytes.subarray(0, (bytes[0]! & 15) * 4)));
    bytes.set([sum >>> 8, sum & 0xff], 10);
    return bytes;
  }
});

describe("IPv6", () => {
  test("reads what is written, and leaves padding out", () => {
    fc.assert(
      fc.property(anyIpv6, anyIpv6, payload, fc.nat(20), (source, destination, body, pad) => {
        const bytes = Buffer.concat([
          ipPacket({ source, destination, protocol: 58 }, body),
          new Uint8Array(pad),
        ]);
        const packet = parseIpv6(bytes)!;
        expect([packet.source.text, packet.destination.text]).toEqual([source.text, destination.text]);
        expect([packet.protocol, packet.protocolAt, packet.header.length]).toEqual([58, 6, 40]);
        expect([...packet.payload]).toEqual([...body]);
      }),
    );
  });

  const padding = [1, 4, 0, 0, 0, 0];

  test("goes through extension headers", () => {
    const body = Uint8Array.from([60, 0, ...padding, 43, 0, ...padding, 17, 0, 0, 0, 9, 9, 9, 9, 5, 5]);
    const packet = parseIpv6(ipPacket({ ...V6, protocol: 0 }, body))!;
    expect([packet.protocol, packet.protocolAt, [...packet.payload]]).toEqual([17, 56, [5, 5]]);
  });

  test.each([
    ["a route that still names stops", 43, [17, 0, 0, 1, 0, 0, 0, 0]],
    ["an option that must be known", 60, [17, 0, 0x80, 4, 0, 0, 0, 0]],
    ["an option that is cut off", 60, [17, 0, 1, 9, 0, 0, 0, 0]],
    ["a header that is cut off", 60, [17, 1, ...padding]],
    ["hop-by-hop options that are not first", 60, [0, 0, ...padding, 17, 0, ...padding]],
    ["more headers than anybody needs", 60, Array.from({ length: 20 }, () => [60, 0, ...padding]).flat()],
  ])("refuses %s", (_, protocol, body) => {
    expect(parseIpv6(ipPacket({ ...V6, protocol }, Uint8Array.from(body)))).toBeUndefined();
  });

  test("stops at a piece, and takes one piece that is all as a whole (RFC 6946)", () => {
    const header = new Uint8Array(8);
    writeFragmentHeader(header, 0, 17, { identification: 0xdeadbeef, offset: 1232, more: true });
    const piece = parseIpv6(ipPacket({ ...V6, protocol: 44 }, header, Uint8Array.of(1, 2)))!;
    expect(piece.fragment).toEqual({ identification: 0xdeadbeef, offset: 1232, more: true });
    expect([piece.protocol, [...piece.payload]]).toEqual([17, [1, 2]]);
    writeFragmentHeader(header, 0, 17, { identification: 1, offset: 0, more: false });
    expect(parseIpv6(ipPacket({ ...V6, protocol: 44 }, header))?.fragment).toBeUndefined();
  });
});

test("whatever comes is read or refused, and lies within what came", () => {
  const valid = fc.oneof(
    payload.map((body) => ipPacket(V4, body)),
    payload.map((body) => ipPacket({ ...V6, protocol: 60 }, body)),
    fc.uint8Array({ maxLength: 300 }),
  );
  fc.assert(
    fc.property(spoilt(valid), (bytes) => {
      for (const packet of [parseIpv4(bytes), parseIpv6(bytes)]) {
        if (packet === undefined) continue;
        expect(packet.header.length + packet.payload.length).toBeLessThanOrEqual(bytes.length);
        expect(packet.protocolAt).toBeLessThan(packet.header.length);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("kinds of addresses", () => {
  expect(["224.0.0.1", "239.9.9.9", "255.255.255.255", "ff02::1"].map((a) => isMulticast(ip(a)))).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(
    ["10.0.0.1", "223.255.255.255", "240.0.0.1", "255.255.255.254", "fe80::1"].map((a) => isMulticast(ip(a))),
  ).toEqual([false, false, false, false, false]);
  expect(["fe80::1", "febf::1", "fec0::1", "254.128.0.1"].map((a) => isLinkLocal(ip(a)))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
