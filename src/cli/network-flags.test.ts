import { realpathSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { networkOf, parsePorts } from "./network-flags.ts";

test.each([
  ["8080:80", [{ host: 8080, guest: 80, protocol: "tcp" }]],
  ["0:80", [{ host: 0, guest: 80, protocol: "tcp" }]],
  ["127.0.0.2:53:5353/udp", [{ bind: "127.0.0.2", host: 53, guest: 5353, protocol: "udp" }]],
  ["[::1]:80:80", [{ bind: "::1", host: 80, guest: 80, protocol: "tcp" }]],
  [
    "8000-8001:80-81",
    [
      { host: 8000, guest: 80, protocol: "tcp" },
      { host: 8001, guest: 81, protocol: "tcp" },
    ],
  ],
  [
    "0:80-81/UDP",
    [
      { host: 0, guest: 80, protocol: "udp" },
      { host: 0, guest: 81, protocol: "udp" },
    ],
  ],
])("--port %s", (text, ports) => {
  expect(parsePorts(text)).toEqual(ports);
});

test.each([
  "",
  "80",
  "a:80",
  "80:",
  "80:70000",
  "81-80:1-2",
  "1-3:1-2",
  "1-9999:1-9999",
  "::1:80:80",
  "80:80/icmp",
])("--port %j is refused", (text) => {
  expect(() => parsePorts(text)).toThrow(
    expect.objectContaining({ code: "invalid_argument", message: expect.stringContaining(`"${text}"`) }),
  );
});

test("a capture's file is the real path of what is named here", () => {
  const capture = { file: join(realpathSync(process.cwd()), "a.pcap") };
  expect(networkOf({ pcap: "a.pcap" })).toEqual({ capture });
  expect(networkOf({ pcap: "/none/../none/a.pcap", pcapSize: 5 })).toEqual({
    capture: { file: "/none/a.pcap", maxMiB: 5 },
  });
  expect(() => networkOf({ pcapSize: 5 })).toThrow("--pcap-size is for --pcap");
  expect(networkOf({ netLimit: ["packets-in=50"] })).toEqual({ limits: { ingressPacketsPerSecond: 50 } });
});

test("flags that ask for nothing leave the network out, and rules alone leave the scope to the daemon", () => {
  expect(networkOf({})).toBeUndefined();
  expect(networkOf({ net: "none" })).toEqual({ scope: "none" });
  expect(networkOf({ group: "shop" })).toEqual({ group: "shop" });
  expect(networkOf({ group: "shop", net: "public" })).toEqual({ scope: "public", group: "shop" });
  expect(networkOf({ netRule: ["allow host tcp:80"], port: ["1:2"] })).toEqual({
    rules: ["allow host tcp:80"],
    ports: [{ host: 1, guest: 2, protocol: "tcp" }],
  });
});
