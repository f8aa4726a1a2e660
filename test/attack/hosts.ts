import { HOST_ADDRESS_6 } from "../two-hosts.ts";
import { type Attack, atOnce, tcp, udp, wget } from "./attack.ts";
import { frame, GATEWAY_MAC, GUEST_MAC, synPacket, udpPacket } from "./forge.ts";
import { HOST_PORT, HOST_PRIVATE, HOST_PUBLIC, HOST_PUBLIC_6, LAN, WEB } from "./world.ts";

/** The host itself, through whatever address it has; the gateway; and sandboxes next door. */

/** Where another sandbox's port is published, on all addresses of the host. */
export const NEIGHBOUR_PORT = 8400;
const HOST_NAME = "host.microsandbox.internal";

export const HOSTS: Attack[] = [
  { name: "the host by its name", run: tcp(HOST_NAME, HOST_PORT) },
  { name: "the host by its name, a datagram", run: udp(HOST_NAME, HOST_PORT) },
  { name: "the host's address on the link", run: tcp("10.209.0.254", HOST_PORT) },
  { name: "the host's address on the link, of version 6", run: tcp("fd6d:7362::fe", HOST_PORT) },
  { name: "the host in its network", run: tcp(HOST_PRIVATE, HOST_PORT) },
  { name: "the host in its network, a datagram", run: udp(HOST_PRIVATE, HOST_PORT) },
  { name: "the host in its network, of version 6", run: tcp(HOST_ADDRESS_6, HOST_PORT) },
  { name: "a public address of the host", run: tcp(HOST_PUBLIC, HOST_PORT) },
  { name: "a public address of the host, a datagram", run: udp(HOST_PUBLIC, HOST_PORT) },
  { name: "a public address of the host, of version 6", run: tcp(HOST_PUBLIC_6, HOST_PORT) },
  {
    name: "NAT64 of a public address of the host",
    run: tcp(`64:ff9b::${HOST_PUBLIC}`, HOST_PORT),
    opens: [`allow egress 64:ff9b::${HOST_PUBLIC}`],
  },
  ...["10.209.0.1", "fd6d:7362::1"].map((gateway) => ({
    name: `the gateway's other ports, ${gateway}`,
    run: atOnce([80, 443, 22, 111, 631, 2375, HOST_PORT].map((port) => `nc -w 2 ${gateway} ${port}`)),
    control: "none" as const,
  })),
  { name: "a datagram to the gateway", run: udp("10.209.0.1", HOST_PORT), control: "none" },
  {
    name: "the gateway, on the host's port, under the gateway's address as a source",
    run: ["frames", frame(synPacket({ source: "10.209.0.1", destination: "10.209.0.254", port: HOST_PORT }))],
    control: tcp(HOST_NAME, HOST_PORT),
  },
  { name: "redirected to metadata", run: wget(`http://${WEB}/to/http://169.254.169.254/latest`) },
  { name: "redirected to a private address", run: wget(`http://${WEB}/to/http://${LAN}/`) },
  { name: "redirected to the host", run: wget(`http://${WEB}/to/http://${HOST_NAME}:${HOST_PORT}/`) },
  {
    name: "redirected to the host's loopback",
    run: wget(`http://${WEB}/to/http://127.0.0.1:${HOST_PORT}/`),
    control: "none",
  },
  { name: "redirected to a mapped address", run: wget(`http://${WEB}/to/http://[::ffff:a9fe:a9fe]/`) },
];

/** What would reach the sandbox next door is seen there: its link stays silent. */
export const NEIGHBOURS: Attack[] = [
  { name: "its published port at the host's name", run: tcp(HOST_NAME, NEIGHBOUR_PORT) },
  { name: "its published port at the host's address", run: tcp(HOST_PRIVATE, NEIGHBOUR_PORT) },
  { name: "its published port at the host's public address", run: tcp(HOST_PUBLIC, NEIGHBOUR_PORT) },
  {
    name: "addresses of the link that nobody has",
    run: atOnce(
      ["10.209.0.3", "10.209.0.255", "fd6d:7362::3"].flatMap((at) => [
        `ping -c 1 -W 1 ${at}`,
        `nc -w 2 ${at} 7000`,
      ]),
    ),
    control: "none",
  },
  {
    name: "its address, which is the attacker's own",
    run: [
      "frames",
      frame(synPacket({ destination: "10.209.0.2", port: 7000 })),
      frame(udpPacket({ destination: "fd6d:7362::2", port: 7000 })),
    ],
    control: "none",
  },
  {
    name: "its MAC address, everybody's and unknown ones",
    run: [
      "frames",
      ...[GUEST_MAC, "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "02:6d:73:62:00:03"].flatMap((to) => [
        frame(udpPacket({ destination: "10.209.0.3", port: 7000 }), { to }),
        frame(synPacket({ destination: "10.209.0.3", port: 7000 }), { to }),
      ]),
      frame(udpPacket({ destination: "10.209.0.255", port: 7000 }), { to: "ff:ff:ff:ff:ff:ff" }),
      frame(udpPacket({ destination: "10.209.0.3", port: 7000 }), { to: GATEWAY_MAC }),
    ],
    control: "none",
  },
];
