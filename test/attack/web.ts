import { hello, helloMessage, inRecords, serverName } from "../../src/engine/network/testing/client-hello.ts";
import { type Attack, tcp, udp } from "./attack.ts";
import { LOOT, OTHER, WEB, WEB_6 } from "./world.ts";

/**
 * From a sandbox that may speak to `allowed.example` on the ports of the web, and knows where that is: for somebody else at the
 * same address, or for that name somewhere else. What reaches the address is looked at, so loot is in all that may not.
 */

const DENIED = `${LOOT}.example`;
const hex = (bytes: Uint8Array) => `hex:${Buffer.from(bytes).toString("hex")}`;
const get = (host: string, path = "/") => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const good = get("allowed.example");

const tls = (name: string, ...texts: string[]): Attack => ({ name, run: tcp(WEB, 443, ...texts) });
const http = (name: string, ...texts: string[]): Attack => ({ name, run: tcp(WEB, 80, ...texts) });

/** Bytes one by one, as segments of their own as far as the guest's kernel sends them so. */
const inBits = (bytes: Buffer) =>
  Array.from({ length: Math.ceil(bytes.length / 16) }, (_, i) => hex(bytes.subarray(16 * i, 16 * i + 16)));

export const WEB_ATTACKS: Attack[] = [
  tls("SNI of a denied name", hex(hello(DENIED))),
  tls("SNI of a denied name, in capitals", hex(hello(DENIED.toUpperCase())), LOOT),
  tls("SNI of a denied name with a dot", hex(hello(`${DENIED}.`))),
  tls("SNI of a denied name behind a NUL", hex(hello(`allowed.example\0.${DENIED}`))),
  tls("SNI of a name below the allowed one", hex(hello(`${LOOT}.allowed.example`))),
  tls("no SNI", hex(hello()), LOOT),
  tls("SNI that is an address", hex(hello(WEB)), LOOT),
  tls(
    "two SNI, one of each",
    hex(inRecords(helloMessage([serverName("allowed.example"), serverName(DENIED)]))),
    LOOT,
  ),
  tls("SNI of a denied name in records of ten bytes", hex(hello(DENIED, 10)), LOOT),
  tls("SNI of a denied name in small segments", ...inBits(hello(DENIED)), LOOT),
  tls("TLS records before the ClientHello", hex(inRecords(Buffer.of(1, 0), 2, 21)), hex(hello(DENIED))),
  tls("a ClientHello of SSL 2", hex(Buffer.from(`802e010002001500000010${"01".repeat(37)}`, "hex")), LOOT),
  tls("another protocol on the port of TLS", `SSH-2.0-${LOOT}\r\n`),
  {
    name: "SNI of the allowed name at another address",
    run: tcp(OTHER, 443, hex(hello("allowed.example")), LOOT),
  },
  {
    name: "the same at another address of version 6",
    run: tcp("2a00:1450:4001::35", 443, hex(hello("allowed.example")), LOOT),
  },
  { name: "SNI of a denied name, over version 6", run: tcp(WEB_6, 443, hex(hello(DENIED))) },
  { name: "a port that the rule does not name", run: tcp(WEB, 8443, hex(hello("allowed.example")), LOOT) },
  { name: "SSH where the rule is for the web", run: tcp(WEB, 22, `SSH-2.0-${LOOT}\r\n`) },
  { name: "QUIC to the allowed address", run: udp(WEB, 443, LOOT) },
  { name: "a datagram to a port of the web", run: udp(WEB, 80, LOOT) },
  http("Host of a denied name", get(DENIED)),
  http("Host of a denied name, with a port", get(`${DENIED}:80`)),
  http("Host of a denied name, behind a user's", get(`allowed.example@${DENIED}`)),
  http("Host of a denied name in capitals", `GET /${LOOT} HTTP/1.1\r\nHOST: ${DENIED.toUpperCase()}\r\n\r\n`),
  http("two Hosts", `GET /${LOOT} HTTP/1.1\r\nHost: allowed.example\r\nHost: ${DENIED}\r\n\r\n`),
  http("two Hosts in one line", get(`allowed.example, ${DENIED}`)),
  http("a Host that is folded", `GET /${LOOT} HTTP/1.1\r\nHost:\r\n ${DENIED}\r\n\r\n`),
  http("a blank before the colon", `GET /${LOOT} HTTP/1.1\r\nHost : ${DENIED}\r\n\r\n`),
  http("a bare carriage return", `GET /${LOOT} HTTP/1.1\rHost: allowed.example\r\nHost: ${DENIED}\r\n\r\n`),
  http("no Host", `GET /${LOOT} HTTP/1.1\r\n\r\n`),
  http("HTTP/1.0 without a Host", `GET /${LOOT} HTTP/1.0\r\n\r\n`),
  http("HTTP/0.9", `GET /${LOOT}\r\n`),
  http("a whole URL with another host", `GET http://${DENIED}/ HTTP/1.1\r\nHost: allowed.example\r\n\r\n`),
  http("CONNECT", `CONNECT ${DENIED}:443 HTTP/1.1\r\nHost: allowed.example\r\n\r\n`, LOOT),
  http(
    "an upgrade to a tunnel",
    `GET / HTTP/1.1\r\nHost: ${DENIED}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    LOOT,
  ),
  http("HTTP/2 from the start", `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${LOOT}`),
  http("a second request for a denied name", good, get(DENIED)),
  http("a second request once the first is answered", good, "wait", get(DENIED)),
  http("two requests in one segment", good + get(DENIED)),
  http(
    "a request behind a body of a stated length",
    `POST / HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 2\r\n\r\nhi${get(DENIED)}`,
  ),
  http(
    "lengths that contradict each other",
    `POST /${LOOT} HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${get(DENIED)}`,
  ),
  http(
    "a request behind chunks",
    `POST / HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n${get(DENIED)}`,
  ),
  http(
    "an encoding that nobody knows",
    `POST /${LOOT} HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${get(DENIED)}`,
  ),
  http("a denied Host in small segments", ...inBits(Buffer.from(get(DENIED)))),
  http("another protocol on the port of HTTP", hex(Buffer.from(`\0\x01${LOOT}`))),
];
