import fc from "fast-check";
import { expect, test } from "vitest";
import { ip, spoilt } from "../testing/packets.ts";
import { buildDhcpReply, DHCP_TYPE, parseDhcpRequest } from "./dhcp.ts";
import { parseMac } from "./ethernet.ts";

const MAC = parseMac("02:6d:73:62:00:02");

/** A client's message: fixed fields as RFC 2131, figure 1 draws them, and these options. */
function clientMessage(options: number[]): Uint8Array {
  const bytes = new Uint8Array(240 + options.length);
  bytes.set([1, 1, 6, 0, 0xca, 0xfe, 0xba, 0xbe], 0);
  bytes[10] = 0x80;
  bytes.set(MAC, 28);
  bytes.set([0x63, 0x82, 0x53, 0x63, ...options], 236);
  return bytes;
}

const REQUEST = clientMessage([53, 1, 3, 0, 50, 4, 10, 209, 0, 2, 54, 4, 10, 209, 0, 1, 55, 2, 1, 3, 255]);

test("a client's request is read", () => {
  expect(parseDhcpRequest(REQUEST)).toMatchObject({
    type: DHCP_TYPE.request,
    transaction: 0xcafebabe,
    broadcast: true,
    mac: MAC,
    clientAddress: ip("0.0.0.0"),
    requested: ip("10.209.0.2"),
    server: ip("10.209.0.1"),
  });
});

test.each([
  ["a server's message", (b: Uint8Array) => (b[0] = 2)],
  ["another hardware", (b: Uint8Array) => (b[1] = 6)],
  ["no cookie", (b: Uint8Array) => (b[236] = 0)],
  ["a type of two bytes", (b: Uint8Array) => b.set([53, 2, 3, 3], 240)],
  ["no type", (b: Uint8Array) => (b[240] = 255)],
  ["an option that is cut off", (b: Uint8Array) => b.set([55, 200], 256)],
])("%s is none", (_, spoil) => {
  const bytes = Uint8Array.from(REQUEST);
  spoil(bytes);
  expect(parseDhcpRequest(bytes)).toBeUndefined();
});

test("an answer carries what a guest needs, and is as long as old clients want", () => {
  const reply = buildDhcpReply(parseDhcpRequest(REQUEST)!, {
    type: DHCP_TYPE.ack,
    server: ip("10.209.0.1"),
    address: ip("10.209.0.2"),
    leaseS: 86_400,
    network: { prefix: 24, router: ip("10.209.0.1"), dnsServers: [ip("10.209.0.1")], mtu: 15_800 },
  });
  expect(reply.length).toBeGreaterThanOrEqual(300);
  const hex = Buffer.from(reply).toString("hex");
  expect(hex.slice(0, 88)).toBe(
    `02010600cafebabe00008000${"00".repeat(4)}0ad10002${"00".repeat(8)}026d73620002${"00".repeat(10)}`,
  );
  const options = "350105 36040ad10001 330400015180 0104ffffff00 03040ad10001 06040ad10001 1a023db8 ff";
  expect(hex.slice(480).replace(/(00)+$/, "")).toBe(options.replaceAll(" ", ""));
});

test("whatever comes is read or refused", () => {
  fc.assert(
    fc.property(spoilt(fc.oneof(fc.constant(REQUEST), fc.uint8Array({ maxLength: 400 }))), (bytes) => {
      const request = parseDhcpRequest(bytes);
      if (request !== undefined) expect(request.mac.length).toBe(6);
    }),
    { numRuns: 2_000 },
  );
});
