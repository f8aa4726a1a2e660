import { expect, test } from "vitest";
import { groupLink, LONE_LINK } from "../guest-link.ts";
import { clientOf, peerOf } from "./client-address.ts";

test.each([
  ["93.184.216.34", "93.184.216.34"],
  ["192.168.1.7", "192.168.1.7"],
  ["2001:4860::1", "2001:4860::1"],
  // What would make no sense on the link, or would be somebody there.
  ["127.0.0.1", "10.209.0.254"],
  ["127.9.9.9", "10.209.0.254"],
  ["169.254.1.1", "10.209.0.254"],
  ["10.209.0.2", "10.209.0.254"],
  ["10.209.0.1", "10.209.0.254"],
  ["::1", "fd6d:7362::fe"],
  ["fe80::1%eth0", "fd6d:7362::fe"],
  ["fd6d:7362::2", "fd6d:7362::fe"],
  [undefined, "10.209.0.254"],
])("a client at %s is %s to the guest", (remote, client) => {
  expect(clientOf(remote, LONE_LINK).text).toBe(client);
});

test.each([
  ["10.210.0.3", "10.209.0.254"],
  ["10.210.15.7", "10.209.0.254"],
  ["10.210.16.7", "10.210.16.7"],
  ["fd6d:7363::3", "fd6d:7362::fe"],
])("to a member of a group a client at %s is %s", (remote, client) => {
  expect(clientOf(remote, groupLink(2)).text).toBe(client);
});

test("rules see the client as it is", () => {
  expect(peerOf("127.0.0.1")?.text).toBe("127.0.0.1");
  expect(peerOf("fe80::1%eth0")?.text).toBe("fe80::1");
});
