import { expect, test } from "vitest";
import { sandboxSpec } from "../../contract/index.ts";
import { LONE_LINK } from "../network/index.ts";
import { assertNetwork, guestNetworkOf, interfaceOf, linkOf } from "./network.ts";

test("a sandbox has no interface unless its scope needs one", () => {
  expect(linkOf(sandboxSpec.parse({ image: "a" }))).toBe(LONE_LINK);
  expect(linkOf(sandboxSpec.parse({ image: "a", network: { scope: "none" } }))).toBeUndefined();
  expect(linkOf(sandboxSpec.parse({ image: "a", network: { scope: "any" } }))).toBe(LONE_LINK);
});

test("machine and agent are told the same of a link", () => {
  const network = guestNetworkOf(LONE_LINK);
  expect(interfaceOf(LONE_LINK)).toEqual({ mac: "02:6d:73:62:00:02", mtu: network.mtu });
  expect(network.addresses[0]).toEqual({ address: Uint8Array.of(10, 209, 0, 2), prefix: 24 });
  expect(network.gateways).toHaveLength(2);
  expect(network.neighbours).toHaveLength(4);
  for (const { mac } of network.neighbours) expect([...mac]).toEqual([2, 0x6d, 0x73, 0x62, 0, 1]);
});

test("ports and rules without a network are refused", () => {
  const spec = (network: object) => sandboxSpec.parse({ image: "a", network });
  const ports = [{ host: 0, guest: 80 }];
  expect(() => assertNetwork(spec({ scope: "none", ports }))).toThrow("publishes ports");
  expect(() => assertNetwork(spec({ scope: "none", rules: ["allow egress host"] }))).toThrow(
    "has network rules",
  );
  expect(() => assertNetwork(spec({ scope: "public", ports }))).not.toThrow();
  expect(() => assertNetwork(spec({ scope: "none" }))).not.toThrow();
});
