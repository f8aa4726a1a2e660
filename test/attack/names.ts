import { buildMessage } from "../../src/engine/network/dns/message.ts";
import { queryOf } from "../../src/engine/network/testing/dns-messages.ts";
import { type Attack, tcp, udp } from "./attack.ts";
import { frame, udpPacket } from "./forge.ts";
import { HOST_PORT, HOST_PUBLIC, LAN, LOOT, OTHER, WEB, WEB_6 } from "./world.ts";

/** Names of the attacked internet, and attempts to get somewhere by one that its owner points wherever he likes. */

export const ZONE = [
  `allowed.example 3600 A ${WEB}`,
  `allowed.example 3600 AAAA ${WEB_6}`,
  `sub.allowed.example 3600 A ${OTHER}`,
  `${LOOT}.example 3600 A ${WEB}`,
  `deep.wild.example 3600 A ${LAN}`,
  `deep.wild.example 3600 AAAA fd00:99::1`,
  `inward.example 60 A ${LAN}`,
  `ula.example 60 AAAA fd00:99::1`,
  "loopback.example 60 A 127.0.0.1",
  "loopback.example 60 AAAA ::1",
  "zero.example 60 A 0.0.0.0",
  "zero.example 60 AAAA ::",
  "mapped.example 60 AAAA ::ffff:10.99.0.1",
  "translated.example 60 AAAA 64:ff9b::10.99.0.1",
  `mixed.example 60 A ${WEB}`,
  `mixed.example 60 A ${LAN}`,
  `turning.example 0 A ${WEB}`,
  `turning.example 0 A ${LAN}`,
  "metadata.google.internal 60 A 169.254.169.254",
  `own.example 60 A ${HOST_PUBLIC}`,
  "link.example 60 A 10.209.0.254",
  "alias.example 60 CNAME inward.example",
  "host.example 60 CNAME host.microsandbox.internal",
  "local.example 60 CNAME localhost",
  `localhost 60 A 127.0.0.1`,
];

const rebound = (name: string, opens?: string): Attack => ({
  name,
  run: tcp(name, HOST_PORT),
  ...(opens === undefined ? {} : { opens: [opens] }),
});
const never = (name: string): Attack => ({ name, run: tcp(name, HOST_PORT), control: "none" });
const question = (name: string) => Buffer.from(buildMessage(queryOf(name)));
const asHex = (bytes: Uint8Array) => `hex:${Buffer.from(bytes).toString("hex")}`;
const overTcp = (message: Buffer) => Buffer.concat([Buffer.of(message.length >> 8, message.length), message]);

/** From a sandbox of the scope `public`: rebinding. */
export const NAMES_OF_STRANGERS: Attack[] = [
  rebound("inward.example"),
  rebound("ula.example"),
  rebound("mixed.example"),
  rebound("turning.example"),
  rebound("alias.example"),
  rebound("metadata.google.internal"),
  rebound("own.example"),
  rebound("translated.example", "allow egress 64:ff9b::10.99.0.1"),
  never("loopback.example"),
  never("zero.example"),
  never("mapped.example"),
  never("link.example"),
  never("host.example"),
  never("local.example"),
  ...[LAN, OTHER].map((resolver) => ({
    name: `another resolver, ${resolver}`,
    run: udp(resolver, 53, asHex(question("turning.example")), "wait"),
    control: udp(resolver, 5353, asHex(question(`${LOOT}.example`))),
  })),
  {
    name: "another resolver over TCP",
    run: tcp(LAN, 53, asHex(overTcp(question("turning.example"))), "wait"),
    control: tcp(LAN, 5353, "x"),
  },
  {
    name: "the resolver of the host's loopback",
    run: [
      "frames",
      ...["127.0.0.53", "127.0.0.1"].map((destination) =>
        frame(udpPacket({ destination, port: 53, text: question("turning.example").toString("latin1") })),
      ),
    ],
    control: "none",
  },
  {
    name: "something else than a question to port 53",
    run: udp(LAN, 53, LOOT, asHex(Buffer.alloc(12)), asHex(Buffer.alloc(600, 0xc0))),
    control: udp(LAN, 5353, LOOT),
  },
];

/** From a sandbox whose rules allow names alone. */
export const NAMES_WITHOUT_A_RULE: Attack[] = [
  { name: "a denied name is not asked for", run: tcp(`${LOOT}.example`, 443) },
  { name: "nor is one that carries data", run: tcp(`${LOOT}-0123456789abcdef.tunnel.example`, 443) },
  { name: "nor one below an allowed one", run: tcp(`${LOOT}.allowed.example`, 443) },
  { name: "nor one that only ends alike", run: tcp(`${LOOT}-allowed.example`, 443) },
  { name: "nor one that only begins alike", run: tcp(`allowed.example.${LOOT}.example`, 443) },
  {
    name: "nor through another resolver",
    run: udp(OTHER, 53, asHex(question(`${LOOT}.example`)), "wait"),
  },
  { name: "the owner of an allowed name points it inwards", run: tcp("deep.wild.example", 443) },
];
