import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { sandboxSpec } from "../../contract/index.ts";
import { LONE_LINK } from "../network/index.ts";
import { FolderPolicy } from "./folder-policy.ts";
import {
  assertNetwork,
  guestNetworkOf,
  interfaceOf,
  linkOf,
  machineInterfaceOf,
  nextGroupNumber,
  nextLinkNumber,
} from "./network.ts";

test("a sandbox has no interface unless its scope needs one", () => {
  expect(linkOf({ spec: sandboxSpec.parse({ image: "a" }) })).toBe(LONE_LINK);
  expect(linkOf({ spec: sandboxSpec.parse({ image: "a", network: { scope: "none" } }) })).toBeUndefined();
  expect(linkOf({ spec: sandboxSpec.parse({ image: "a", network: { scope: "any" } }) })).toBe(LONE_LINK);
});

test("machine and agent are told the same of a link", () => {
  const network = guestNetworkOf(LONE_LINK);
  expect(interfaceOf(LONE_LINK)).toEqual({ mac: "02:6d:73:62:00:02", mtu: network.mtu });
  expect(network.addresses[0]).toEqual({ address: Uint8Array.of(10, 209, 0, 2), prefix: 24 });
  expect(network.gateways).toHaveLength(2);
  expect(network.neighbours).toHaveLength(4);
  for (const { mac } of network.neighbours) expect([...mac]).toEqual([2, 0x6d, 0x73, 0x62, 0, 1]);
});

test("ports, rules and a capture without a network are refused", () => {
  const policy = new FolderPolicy("/none/mounts.json", tmpdir());
  const spec = (network: object) => sandboxSpec.parse({ image: "a", network });
  const ports = [{ host: 0, guest: 80 }];
  expect(() => assertNetwork(spec({ scope: "none", ports }), policy)).toThrow("publishes ports");
  expect(() => assertNetwork(spec({ scope: "none", rules: ["allow egress host"] }), policy)).toThrow(
    "has network rules",
  );
  expect(() => assertNetwork(spec({ scope: "none", group: "g" }), policy)).toThrow("is in the group 'g'");
  expect(() => assertNetwork(spec({ scope: "public", ports }), policy)).not.toThrow();
  expect(() => assertNetwork(spec({ scope: "none" }), policy)).not.toThrow();
  expect(() => assertNetwork(spec({ scope: "none", capture: { file: "/x/a.pcap" } }), policy)).toThrow(
    "captures its network",
  );
});

test("a member of a group has two addresses more, which come first", () => {
  const link = linkOf({
    spec: sandboxSpec.parse({ image: "a", network: { group: "g" } }),
    groupNumber: 258,
  })!;
  const { addresses, ...rest } = guestNetworkOf(link);
  expect(addresses).toHaveLength(4);
  expect(addresses[0]).toEqual({ address: Uint8Array.of(10, 210, 1, 2), prefix: 20 });
  expect(addresses[2]).toEqual({ address: Uint8Array.of(10, 209, 0, 2), prefix: 24 });
  expect(guestNetworkOf(LONE_LINK)).toMatchObject(rest);
  expect(interfaceOf(link)).toEqual(interfaceOf(LONE_LINK));
});

test("members have numbers that nobody of their group has, and that were just nobody's", () => {
  const taken = (...numbers: number[]) => numbers.map((number) => ({ group: "g", number }));
  expect(nextGroupNumber("g", [])).toBe(2);
  expect(nextGroupNumber("g", [undefined, { group: "h", number: 7 }])).toBe(2);
  expect(nextGroupNumber("g", taken(2, 5))).toBe(6);
  expect(nextGroupNumber("g", taken(2, 3, 5, 4094))).toBe(4);
  const all = taken(...Array.from({ length: 4093 }, (_, i) => i + 2));
  expect(() => nextGroupNumber("g", all)).toThrow(expect.objectContaining({ code: "resource_exhausted" }));
});

test("each sandbox that began as another one has a link of its own, and what was just removed is not at once another's", () => {
  expect(nextLinkNumber([])).toBe(257);
  expect(nextLinkNumber([undefined, 257, 300])).toBe(301);
  expect(nextLinkNumber([510])).toBe(513);
  expect(nextLinkNumber([65_278])).toBe(257);
  const link = linkOf({ spec: sandboxSpec.parse({ image: "a" }), linkNumber: 301 })!;
  expect(link.guest.mac).toBe("02:6d:73:63:01:2d");
  expect(link.guest.addresses.map(({ address, prefix }) => `${address.text}/${prefix}`)).toEqual([
    "10.209.1.45/16",
    "fd6d:7362::12d/64",
  ]);
  // Its machine is as its template was stored.
  expect(machineInterfaceOf(sandboxSpec.parse({ image: "a" }))).toEqual(interfaceOf(LONE_LINK));
});
