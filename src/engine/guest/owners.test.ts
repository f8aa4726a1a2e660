import { expect, test } from "vitest";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { Fields } from "./fields.ts";
import { encodeOwners, readOwners } from "./owners.ts";

const read = (owners: unknown) =>
  readOwners(Fields.ofMessage(encodeCbor({ owners } as Record<string, unknown>) as Buffer, "a reply"));

test("at most 64 flows are asked about, by their ports and addresses", () => {
  const flow = { protocol: "udp", localPort: 40_000, address: Uint8Array.of(8, 8, 8, 8), port: 53 } as const;
  const message = decodeCbor(encodeOwners(3, Array(70).fill(flow))) as Map<string, unknown>;
  expect(message.get("flows")).toHaveLength(64);
  expect((message.get("flows") as Map<string, unknown>[])[0]?.get("udp")).toBe(true);
});

test("owners are in the order of the flows, and text is made fit for a terminal", () => {
  expect(read([{ pid: 7, command: "a\u001b[2Jb" }, {}])).toEqual([
    { pid: 7, command: "a\uFFFD[2Jb" },
    undefined,
  ]);
  expect(read([{ pid: 1, command: "x".repeat(100) }])[0]!.command).toHaveLength(65);
});

test.each([
  [Array(65).fill({})],
  [[7]],
  [[{ pid: -1, command: "x" }]],
  [[{ pid: 2 ** 31, command: "" }]],
  [[{ pid: 1 }]],
  [{}],
])("%j is a violation", (owners) => {
  expect(() => read(owners)).toThrow();
});
