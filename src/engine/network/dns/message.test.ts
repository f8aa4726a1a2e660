import fc from "fast-check";
import { expect, test } from "vitest";
import { queryOf, record, roundTrip } from "../testing/dns-messages.ts";
import { answerTo, buildMessage, parseMessage } from "./message.ts";
import { TYPE } from "./record-types.ts";
import { nameBytes, nameKey, readName } from "./wire-name.ts";

/** An answer of a real resolver (RFC 1035's compression): www.example.com is an alias, the alias has an address. */
const CAPTURED = Buffer.from(
  "abcd8180000100020000000103777777076578616d706c6503636f6d0000010001" +
    "c00c00050001000000b4000603636463c010c02d000100010000003c00045db8d822" +
    "0000290fa0000080000000",
  "hex",
);

test("an answer with compressed names is read, and its data stands on its own", () => {
  const message = parseMessage(CAPTURED)!;
  expect(message).toMatchObject({ id: 0xabcd, response: true, rcode: 0, edns: { size: 4000, dnssec: true } });
  expect(nameKey(message.question.labels)).toBe("www.example.com");
  expect(message.answers.map(({ labels, type, ttl }) => [nameKey(labels), type, ttl])).toEqual([
    ["www.example.com", TYPE.CNAME, 180],
    ["cdc.example.com", TYPE.A, 60],
  ]);
  expect(nameKey(readName(message.answers[0]!.data, 0)!.labels)).toBe("cdc.example.com");
  expect(parseMessage(buildMessage(message))).toEqual(message);
  expect(buildMessage(message).length).toBeLessThanOrEqual(CAPTURED.length + 15);
});

test.each<[what: string, hex: string]>([
  ["a pointer to itself", "c000"],
  ["a pointer forwards", "c00200"],
  ["two pointers in a circle", "c002c000"],
  ["a label that runs over the end", "05616263"],
  ["a label without an end", "0161"],
  ["half a pointer", "c0"],
  ["a label of a kind that is not used", "4161"],
  ["256 bytes of labels", `${`3f${"61".repeat(63)}`.repeat(4)}00`],
])("%s is no name", (_, hex) => {
  expect(readName(Buffer.from(hex, "hex"), 0)).toBeUndefined();
});

test("a name of 255 bytes is one, through as many pointers as it takes", () => {
  const longest = Buffer.from(`${`3f${"61".repeat(63)}`.repeat(3)}3d${"61".repeat(61)}00`, "hex");
  expect(readName(longest, 0)?.labels).toHaveLength(4);
  // Each pointer leads two bytes back: `a` at 0, then pointers to the one before.
  const chain = Buffer.concat([
    Buffer.from("016100", "hex"),
    ...Array.from({ length: 500 }, (_, i) =>
      Buffer.from([0xc0 | ((i === 0 ? 0 : 1 + 2 * i) >> 8), (i === 0 ? 0 : 1 + 2 * i) & 0xff]),
    ),
  ]);
  expect(readName(chain, chain.length - 2)?.labels).toEqual(["a"]);
});

test("records of all sections survive a round trip", () => {
  const message = {
    ...answerTo(queryOf("a.Example"), 3),
    answers: [
      record("a.example 5 CNAME b.example"),
      record("b.example 6 AAAA 2a00::1"),
      record("b.example 7 TXT 0161"),
    ],
    authority: [record("example 8 NS ns.example")],
    additional: [record("ns.example 9 A 9.9.9.9")],
  };
  expect(roundTrip(message)).toEqual(message);
});

test("the numbers of the header are kept apart", () => {
  const message = answerTo(
    queryOf("a.b", 1, { checkingDisabled: true, edns: { size: 512, version: 0, dnssec: true } }),
    16,
  );
  expect(roundTrip(message)).toEqual(message);
});

test("arbitrary bytes and damaged messages: a message or nothing, and what is read can be written and read again", () => {
  const damaged = fc
    .tuple(
      fc.nat(CAPTURED.length - 1),
      fc.array(fc.tuple(fc.nat(CAPTURED.length - 1), fc.nat(255)), { maxLength: 6 }),
    )
    .map(([cut, changes]) => {
      const bytes = Buffer.from(CAPTURED);
      for (const [at, value] of changes) bytes[at] = value;
      return cut < 12 ? bytes.subarray(0, bytes.length - cut) : bytes;
    });
  let read = 0;
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 300 })), (bytes) => {
      const message = parseMessage(bytes);
      if (message === undefined) return;
      read += 1;
      expect(roundTrip(message)).toEqual(message);
    }),
    { numRuns: 4000 },
  );
  expect(read).toBeGreaterThan(100);
});

test("names are written once and pointed to", () => {
  const written = new Map<string, number>();
  expect(nameBytes(["www", "a", "b"], 12, written)).toEqual([3, 119, 119, 119, 1, 97, 1, 98, 0]);
  expect(nameBytes(["x", "a", "b"], 40, written)).toEqual([1, 120, 0xc0, 16]);
  expect(nameBytes(["A", "b"], 44, written)).toEqual([1, 65, 0xc0, 18]);
});
