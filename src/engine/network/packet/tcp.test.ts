import fc from "fast-check";
import { expect, test } from "vitest";
import { IpAddress } from "../../../contract/ip-address.ts";
import { ACK, buildTcpHeader, parseTcp, parseTcpOptions, SYN, tcpChecksumHolds } from "./tcp.ts";

const FROM = IpAddress.parse("10.209.0.2")!;
const TO = IpAddress.parse("10.209.0.1")!;

test("what is built reads back the same, and its checksum holds until a bit is turned", () => {
  const uint16 = fc.integer({ min: 0, max: 0xffff });
  const uint32 = fc.integer({ min: 0, max: 0xffffffff });
  const header = fc.record({
    sourcePort: uint16,
    destinationPort: uint16,
    sequence: uint32,
    acknowledgment: uint32,
    flags: fc.integer({ min: 0, max: 255 }),
    window: uint16,
  });
  const run = fc.property(header, fc.uint8Array({ maxLength: 200 }), fc.nat(), (fields, payload, bit) => {
    const built = buildTcpHeader(FROM, TO, fields, payload);
    const bytes = Uint8Array.from([...built, ...payload]);
    expect(parseTcp(bytes)).toMatchObject({ ...fields, options: new Uint8Array(0), payload });
    expect(tcpChecksumHolds(FROM, TO, bytes)).toBe(true);
    const at = bit % (bytes.length * 8);
    bytes[at >>> 3]! ^= 1 << (at & 7);
    expect(tcpChecksumHolds(FROM, TO, bytes)).toBe(false);
  });
  fc.assert(run);
});

test("a SYN carries the segment size and the scale", () => {
  const fields = {
    sourcePort: 1,
    destinationPort: 2,
    sequence: 3,
    acknowledgment: 4,
    flags: SYN | ACK,
    window: 5,
  };
  const options = { maximumSegmentSize: 1460, windowScale: 7 };
  const header = buildTcpHeader(FROM, TO, fields, new Uint8Array(0), options);
  expect(parseTcpOptions(parseTcp(header)!.options)).toEqual(options);
  expect(tcpChecksumHolds(FROM, TO, header)).toBe(true);
});

test("the options of a Linux SYN", () => {
  const bytes = Buffer.from("020405b40402080a0102030400000000 01030307".replaceAll(" ", ""), "hex");
  expect(parseTcpOptions(bytes)).toEqual({
    maximumSegmentSize: 1460,
    sackPermitted: true,
    timestamps: { value: 0x01020304, echo: 0 },
    windowScale: 7,
  });
});

test.each([
  ["of length 0", [2, 0, 5, 180]],
  ["of length 1", [3, 1, 7]],
  ["longer than the rest", [2, 4, 5]],
  ["without a length", [8]],
  ["after the end", [0, 2, 4, 5, 180]],
  ["of a known kind, but not its length", [2, 3, 5]],
])("an option %s is not read", (_, bytes) => {
  expect(parseTcpOptions(Uint8Array.from(bytes))).toEqual({});
});

test("a scale above 14 counts as 14", () => {
  expect(parseTcpOptions(Uint8Array.of(3, 3, 200))).toEqual({ windowScale: 14 });
});

test("random bytes are a segment or not, and nothing is read beyond them", () => {
  const run = fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    const segment = parseTcp(bytes);
    if (segment === undefined) return;
    parseTcpOptions(segment.options);
    expect(20 + segment.options.length + segment.payload.length).toBe(bytes.length);
  });
  fc.assert(run, { numRuns: 2000 });
});
