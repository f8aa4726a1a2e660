import { expect, test } from "vitest";
import { parseNetworkTarget } from "./network-target.ts";

test.each([
  ["https://example.com/path?query", { host: "example.com", port: 443 }],
  ["http://[2001:db8::1]:8080/", { host: "2001:db8::1", port: 8080 }],
  ["ssh://git@example.com/x", { host: "example.com", port: 22 }],
  ["example.com:25", { host: "example.com", port: 25, protocol: "tcp" }],
  ["1.1.1.1:53/udp", { host: "1.1.1.1", port: 53, protocol: "udp" }],
  ["[fe80::1]:80/TCP", { host: "fe80::1", port: 80, protocol: "tcp" }],
])("%s", (text, question) => {
  expect(parseNetworkTarget(text)).toEqual(question);
});

test.each([
  "",
  "example.com",
  "unknown://example.com",
  "a:b",
  "::1:80",
  "example.com:80/icmp",
  "file:///etc",
])("%j names no target", (text) => {
  expect(() => parseNetworkTarget(text)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
});
