import { ip } from "../../src/engine/network/testing/packets.ts";
import { type Attack, tcp, udp, wget } from "./attack.ts";
import { frame, synPacket, udpPacket } from "./forge.ts";
import { HOST_PORT, LAN } from "./world.ts";

/** Addresses that are not the public internet, in all the ways in which one can write and carry them. */

/** Through the guest's own sockets. Rules for a block open what no scope does. */
const SOCKETS: [address: string, why: string, opens?: string][] = [
  [LAN, "a private one"],
  ["10.255.255.254", "RFC 1918, near its end"],
  ["172.16.3.4", "RFC 1918"],
  ["192.168.77.1", "RFC 1918"],
  ["100.64.0.9", "shared address space"],
  ["169.254.7.7", "link-local", "169.254.0.0/16"],
  ["192.0.2.1", "documentation", "192.0.2.0/24"],
  ["192.88.99.1", "a 6to4 relay", "192.88.99.0/24"],
  ["198.18.0.1", "benchmarks", "198.18.0.0/15"],
  ["240.0.0.1", "reserved", "240.0.0.0/4"],
  ["fd00:99::1", "unique local"],
  ["2001:db8::1", "documentation", "2001:db8::/32"],
  ["fec0::1", "site-local", "fec0::/10"],
  ["4000::1", "not allocated", "4000::/3"],
  ["64:ff9b::10.99.0.1", "NAT64 of a private one", "64:ff9b::/96"],
  ["64:ff9b::93.184.216.34", "NAT64 of a public one", "64:ff9b::/96"],
  ["64:ff9b:1::10.99.0.1", "NAT64 of a local prefix", "64:ff9b:1::/48"],
  ["64:ff9b:1:a63:0:100::", "NAT64 of a local prefix, another layout", "64:ff9b:1::/48"],
  ["2002:a63:1::1", "6to4 of a private one", "2002::/16"],
  ["2001:0:4136:e378:8000:63bf:f59c:fffe", "Teredo of a private one", "2001::/32"],
  ["2a00:1450:4001::5efe:10.99.0.1", "ISATAP under a public prefix", "2a00:1450:4001::/48"],
  ["::ffff:0:10.99.0.1", "SIIT", "::ffff:0:0:0/96"],
];

const METADATA: [address: string, of: string][] = [
  ["169.254.169.254", "most clouds"],
  ["169.254.170.2", "ECS"],
  ["100.100.100.200", "Alibaba"],
  ["168.63.129.16", "Azure, among public addresses"],
  ["fd00:ec2::254", "AWS"],
  ["fd20:ce::254", "Google"],
];

/** Numbers that C libraries take for 10.99.0.1, or may. Whatever they are taken for: it is not reached. */
const SPELLINGS = ["174260225", "0x0a630001", "0xa.0x63.0x0.0x1", "012.0143.0.01", "10.6488065", "10.99.1"];

/** Those that a kernel does not send to, or that its sockets take for something else: as frames. */
const ON_THE_WIRE: [address: string, why: string][] = [
  ["127.0.0.1", "the host's loopback"],
  ["127.8.8.8", "the host's loopback, elsewhere"],
  ["0.0.0.0", "what sockets take for loopback"],
  ["0.1.2.3", "this network"],
  ["255.255.255.255", "everybody"],
  ["224.0.0.251", "multicast"],
  ["239.255.255.250", "multicast"],
  ["::1", "the host's loopback"],
  ["::", "what sockets take for loopback"],
  ["::127.0.0.1", "compatible"],
  ["::10.99.0.1", "compatible"],
  ["::ffff:127.0.0.1", "mapped"],
  ["::ffff:10.99.0.1", "mapped"],
  ["::ffff:169.254.169.254", "mapped"],
  ["64:ff9b::127.0.0.1", "NAT64 of loopback"],
  ["2002:7f00:1::1", "6to4 of loopback"],
  ["fe80::1234", "link-local"],
  ["ff02::1", "multicast"],
  ["ff0e::fb", "multicast"],
];

const opened = (prefix: string | undefined) =>
  prefix === undefined ? {} : { opens: [`allow egress ${prefix}`] };

export const ADDRESSES: Attack[] = [
  ...SOCKETS.map(([address, why, prefix]) => ({
    name: `${address}: ${why}`,
    run: tcp(address, 7000),
    goal: ip(address).text,
    ...opened(prefix),
  })),
  { name: "a datagram to a private address", run: udp(LAN, 5000) },
  { name: "a datagram to a unique local address", run: udp("fd00:99::1", 5000) },
  { name: "a datagram to NAT64 of a private address", run: udp("64:ff9b::10.99.0.1", 5000) },
  ...METADATA.map(([address, of]) => ({
    name: `metadata of ${of}`,
    run: tcp(address, 80),
    goal: address,
  })),
  { name: "a datagram to metadata", run: udp("169.254.169.254", 5000) },
  ...SPELLINGS.map((host) => ({ name: `http://${host}/`, run: wget(`http://${host}/`) })),
  { name: "::ffff:10.99.0.1 in a URL", run: wget("http://[::ffff:10.99.0.1]/") },
  ...ON_THE_WIRE.map(([destination, why]) => ({
    name: `on the wire, ${destination}: ${why}`,
    run: [
      "frames",
      frame(synPacket({ destination, port: HOST_PORT })),
      frame(synPacket({ destination, port: 80 })),
      frame(udpPacket({ destination, port: HOST_PORT })),
      frame(udpPacket({ destination, port: 53 })),
    ],
    control: "none" as const,
  })),
];
