import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { IpPacket } from "../packet/ip-packet.ts";
import { parseIpv4 } from "../packet/ipv4.ts";
import { parseIpv6, writeFragmentHeader } from "../packet/ipv6.ts";
import { ManualClock } from "../tcp/testing/manual-clock.ts";
import { ip, ipPacket } from "../testing/packets.ts";
import { DropCounts } from "./drop-counts.ts";
import { REASSEMBLY_LIMITS, Reassembler } from "./reassembler.ts";

const ENDS = {
  4: { source: ip("10.209.0.2"), destination: ip("198.51.100.7") },
  6: { source: ip("fd6d:7362::2"), destination: ip("2001:db8::7") },
};

/** A piece as it comes: from `start` to `end` of `whole`. */
function piece(version: 4 | 6, whole: Uint8Array, start: number, end: number, identification = 7): IpPacket {
  const fragment = { identification, offset: start, more: end < whole.length };
  const bytes = whole.subarray(start, end);
  if (version === 4) return parseIpv4(ipPacket({ ...ENDS[4], protocol: 17, fragment }, bytes))!;
  const header = new Uint8Array(8);
  writeFragmentHeader(header, 0, 17, fragment);
  return parseIpv6(ipPacket({ ...ENDS[6], protocol: 44 }, header, bytes))!;
}

function setUp(limits: Partial<typeof REASSEMBLY_LIMITS> = {}) {
  const [clock, drops] = [new ManualClock(), new DropCounts()];
  const reassembler = new Reassembler({ ...REASSEMBLY_LIMITS, ...limits }, clock, drops);
  return { clock, drops, reassembler };
}

const versions = fc.constantFrom<4 | 6>(4, 6);

test("pieces in any order, some of them twice, make the whole once", () => {
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 250 }), { maxLength: 20 });
  fc.assert(
    fc.property(
      versions,
      fc.integer({ min: 2001, max: 3000 }),
      cuts,
      fc.infiniteStream(fc.nat()),
      (version, length, at, dice) => {
        const whole = Uint8Array.from({ length }, (_, i) => i % 253);
        const edges = [0, ...at.map((cut) => cut * 8).sort((a, b) => a - b), length];
        const pieces = edges.slice(1).map((end, i) => piece(version, whole, edges[i]!, end));
        if (pieces.length === 1) return;
        const shuffled = pieces
          .map((each) => ({ each, key: dice.next().value! }))
          .sort((a, b) => a.key - b.key);
        const { reassembler, drops } = setUp();
        const made = shuffled.flatMap(({ each }, i) => {
          // Twice, but for the last: after it the packet is whole and nothing is known of it.
          if (i < shuffled.length - 1) reassembler.add(each);
          return reassembler.add(each) ?? [];
        });
        expect(made.map(({ payload, protocol, fragment }) => ({ payload, protocol, fragment }))).toEqual([
          { payload: whole, protocol: 17, fragment: undefined },
        ]);
        expect([reassembler.held, drops.all()]).toEqual([0, {}]);
      },
    ),
    { numRuns: 200 },
  );
});

describe("nothing is taken of a packet, now or later,", () => {
  const whole = new Uint8Array(64).fill(1);
  const other = new Uint8Array(64).fill(2);

  test.each([
    [
      "if pieces overlap",
      [
        [whole, 0, 24],
        [whole, 16, 40],
      ],
    ],
    [
      "if one lies within another",
      [
        [whole, 0, 40],
        [whole, 8, 16],
      ],
    ],
    [
      "if one comes twice and is not the same",
      [
        [whole, 8, 24],
        [other, 8, 24],
      ],
    ],
    [
      "if there are two ends",
      [
        [whole, 56, 64],
        [whole.subarray(0, 60), 56, 60],
      ],
    ],
    [
      "if a piece lies beyond the end",
      [
        [whole.subarray(0, 32), 24, 32],
        [whole, 32, 40],
      ],
    ],
    [
      "if the end lies before a piece",
      [
        [whole, 32, 40],
        [whole.subarray(0, 32), 24, 32],
      ],
    ],
    [
      "if a piece is no multiple of 8 and not the last",
      [
        [whole, 0, 8],
        [whole, 8, 17],
      ],
    ],
    [
      "if a piece is empty",
      [
        [whole, 0, 8],
        [whole, 8, 8],
      ],
    ],
  ] as [string, [Uint8Array, number, number][]][])("%s", (_, pieces) => {
    for (const version of [4, 6] as const) {
      const { reassembler, drops } = setUp();
      for (const [bytes, start, end] of pieces) reassembler.add(piece(version, bytes, start, end));
      expect(drops.get("fragment")).toBe(2);
      for (let at = 0; at < 64; at += 8)
        expect(reassembler.add(piece(version, whole, at, at + 8))).toBeUndefined();
      expect([drops.get("fragment"), reassembler.held]).toEqual([10, 0]);
      expect(reassembler.add(piece(version, whole, 0, 32, 8))).toBeUndefined();
      expect(reassembler.add(piece(version, whole, 32, 64, 8))?.payload).toEqual(whole);
    }
  });

  test("if it would be longer than a packet can be", () => {
    const { reassembler, drops } = setUp();
    const long = new Uint8Array(65_536);
    reassembler.add(piece(4, long, 0, 8));
    expect(reassembler.add(piece(4, long, 65_528, 65_536))).toBeUndefined();
    expect(drops.get("fragment")).toBe(2);
  });
});

describe("bounds", () => {
  const whole = new Uint8Array(4000);

  test("the oldest packet goes when there are too many", () => {
    const { reassembler } = setUp({ packets: 4 });
    for (let id = 0; id < 5; id++) reassembler.add(piece(4, whole, 0, 2000, id));
    expect(reassembler.add(piece(4, whole, 2000, 4000, 0))).toBeUndefined();
    expect(reassembler.add(piece(4, whole, 2000, 4000, 4))).toBeDefined();
  });

  test("the oldest packet goes when they are too long", () => {
    const { reassembler } = setUp({ bytes: 5_000 });
    for (let id = 0; id < 10; id++) {
      reassembler.add(piece(4, whole, 0, 2000, id));
      expect(reassembler.held).toBeLessThanOrEqual(5_000);
    }
    expect(reassembler.add(piece(4, whole, 2000, 4000, 7))).toBeUndefined();
    expect(reassembler.add(piece(4, whole, 2000, 4000, 9))).toBeDefined();
  });

  test("what is held is bounded, also by many pieces of eight bytes", () => {
    fc.assert(
      fc.property(
        versions,
        fc.array(fc.tuple(fc.nat(40), fc.nat(480), fc.nat(30)), { maxLength: 400 }),
        (version, sent) => {
          const { reassembler } = setUp({ bytes: 3_000, packets: 16 });
          for (const [id, unit, units] of sent) {
            const start = unit * 8;
            reassembler.add(piece(version, whole, start, Math.min(4000, start + 8 + units * 8), id));
            expect(reassembler.held).toBeLessThanOrEqual(3_000);
            expect(reassembler.held).toBeGreaterThanOrEqual(0);
          }
          reassembler.close();
          expect(reassembler.held).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("what never becomes whole is forgotten, though nothing more comes", async () => {
    const { reassembler, clock, drops } = setUp({ timeMs: 1000 });
    reassembler.add(piece(4, whole, 0, 2000));
    await clock.pass(2000);
    expect([reassembler.held, drops.get("fragment"), clock.waiting]).toEqual([0, 1, 0]);
    expect(reassembler.add(piece(4, whole, 2000, 4000))).toBeUndefined();
  });
});
