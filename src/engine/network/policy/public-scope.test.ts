import { expect, test } from "vitest";
import { egress, policyOf } from "../testing/policy-of.ts";

/** Ways out of `public` that must not be: each address, and what of it leads somewhere private. */
const WAYS_OUT: [address: string, why: string][] = [
  ["10.0.0.1", "RFC 1918"],
  ["10.255.255.255", "RFC 1918, its last"],
  ["172.16.0.1", "RFC 1918"],
  ["172.31.255.255", "RFC 1918, its last"],
  ["192.168.0.1", "RFC 1918"],
  ["100.64.0.1", "CGNAT"],
  ["100.127.255.254", "CGNAT, its last"],
  ["127.0.0.1", "loopback"],
  ["127.255.255.254", "loopback, its last"],
  ["0.0.0.0", "unspecified: a socket takes it for loopback"],
  ["0.1.2.3", "this network"],
  ["169.254.0.1", "link-local"],
  ["169.254.169.254", "metadata"],
  ["169.254.170.2", "metadata of ECS"],
  ["100.100.100.200", "metadata of Alibaba"],
  ["168.63.129.16", "metadata of Azure, among public addresses"],
  ["192.0.0.192", "metadata of Oracle"],
  ["192.0.0.8", "protocol assignments"],
  ["192.0.2.1", "documentation"],
  ["198.51.100.1", "documentation"],
  ["203.0.113.1", "documentation"],
  ["192.88.99.1", "6to4 relays"],
  ["198.18.0.1", "benchmarking"],
  ["198.19.255.255", "benchmarking, its last"],
  ["224.0.0.1", "multicast"],
  ["239.255.255.250", "multicast: SSDP"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "broadcast"],
  ["10.209.0.1", "the gateway"],
  ["10.209.0.254", "the host's address without being told to be"],
  ["192.168.1.5", "the host's address in its network"],
  ["93.184.216.99", "the host's public address"],
  ["::", "unspecified"],
  ["::1", "loopback"],
  ["::127.0.0.1", "compatible"],
  ["::8.8.8.8", "compatible, of a public one"],
  ["::ffff:127.0.0.1", "mapped loopback"],
  ["::ffff:8.8.8.8", "mapped, of a public one"],
  ["::ffff:10.0.0.1", "mapped private"],
  ["::ffff:0:10.0.0.1", "translated, SIIT"],
  ["64:ff9b::10.0.0.1", "NAT64 of private"],
  ["64:ff9b::8.8.8.8", "NAT64 of public"],
  ["64:ff9b::169.254.169.254", "NAT64 of metadata"],
  ["64:ff9b:1::10.0.0.1", "NAT64, local use"],
  ["64:ff9b:1:a00::1:0:0", "NAT64, local use, other layout"],
  ["2002:a00:1::1", "6to4 of 10.0.0.1"],
  ["2002:7f00:1::1", "6to4 of loopback"],
  ["2002:808:808::1", "6to4 of public"],
  ["2001:0:4136:e378:8000:63bf:f5ff:fffe", "Teredo of 10.0.0.1"],
  ["2001:0:a00:1::1", "Teredo by a private server"],
  ["2a00:1234::5efe:10.0.0.1", "ISATAP under a public prefix"],
  ["2a00:1234::200:5efe:8.8.8.8", "ISATAP with the universal bit"],
  ["2a01:4f8:64::10.0.0.1", "the host network's own NAT64"],
  ["2001:db8::1", "documentation"],
  ["3fff::1", "documentation"],
  ["2001:2::1", "benchmarking"],
  ["2001:10::1", "ORCHID"],
  ["2001:20::1", "ORCHIDv2"],
  ["2001:1::1", "PCP anycast"],
  ["100::1", "discard"],
  ["5f00::1", "segment routing"],
  ["fc00::1", "unique local"],
  ["fd12:3456::1", "unique local"],
  ["fd6d:7362::1", "the gateway"],
  ["fd6d:7362::fe", "the host's address without being told to be"],
  ["fd00:ec2::254", "metadata of AWS"],
  ["fd20:ce::254", "metadata of Google"],
  ["fe80::1", "link-local"],
  ["fe80::a9fe:a9fe", "metadata of OpenStack"],
  ["febf::1", "link-local, its last"],
  ["fec0::1", "site-local"],
  ["ff02::1", "multicast"],
  ["ff0e::1", "multicast, global"],
  ["4000::1", "not allocated"],
  ["1::1", "not allocated"],
  ["2a00:1450::5", "the host's public address"],
];

test.each(WAYS_OUT)("public does not lead to %s: %s", (address) => {
  const policy = policyOf("public");
  for (const protocol of ["tcp", "udp"] as const)
    expect(policy.decide(egress(address, { protocol }))).toMatchObject({ allowed: false });
});

test.each(WAYS_OUT)("nor does a rule for public, or a name, lead to %s: %s", (address) => {
  const policy = policyOf("group", ["allow egress public", "allow egress domain:a.example"]);
  expect(policy.decide(egress(address, { names: ["a.example"] }))).toMatchObject({ allowed: false });
});

test.each([
  "8.8.8.8",
  "1.1.1.1",
  "100.63.255.255",
  "100.128.0.0",
  "172.15.255.255",
  "172.32.0.0",
  "192.0.1.1",
  "198.17.255.255",
  "198.20.0.0",
  "223.255.255.255",
  "126.255.255.255",
  "128.0.0.1",
  "168.63.129.17",
  "2a00:1450:4001::1",
  "2606:4700:4700::1111",
  "2001:200::1",
  "2003::1",
])("public leads to %s", (address) => {
  expect(policyOf("public").decide(egress(address))).toEqual({
    allowed: true,
    rule: "scope public",
    reason: expect.stringContaining("within the scope public"),
  });
});

test.each([
  "127.0.0.1",
  "::1",
  "::ffff:10.0.0.1",
  "::10.0.0.1",
  "2002:7f00:1::1",
  "64:ff9b::127.0.0.1",
  "2a00:1234::5efe:127.0.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "10.209.0.1",
  "fd6d:7362::1",
])("no rule opens %s", (address) => {
  const rules = [
    "allow egress any",
    "allow egress 0.0.0.0/0",
    "allow egress ::/0",
    "allow egress host",
    "allow egress metadata",
  ];
  const own = address.startsWith("::ffff") ? [] : [`allow egress ${address}`];
  expect(policyOf("any", [...rules, ...own]).decide(egress(address))).toMatchObject({
    allowed: false,
    rule: "address",
  });
});
