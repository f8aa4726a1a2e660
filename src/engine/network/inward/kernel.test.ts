/** Published ports with Linux' servers behind them. Needs root for a network namespace and a TAP interface. */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { LONE_LINK } from "../guest-link.ts";
import type { AuditRecord } from "../outward/audit.ts";
import { KernelLink } from "../testing/kernel-link.ts";
import { kernelGuestPossible } from "../testing/namespace.ts";
import { policyOf } from "../testing/policy-of.ts";
import { PublishedPorts } from "./inward.ts";

const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;
/** Who a client on the host is to the guest. */
const HOST = { 4: "10.209.0.254", 6: "fd6d:7362::fe" } as const;

describe.skipIf(!kernelGuestPossible()).each([4, 6] as const)(
  "a port of the host, IPv%i, leads to a server in the guest (needs root and /dev/net/tun)",
  (version) => {
    let kernel: KernelLink;
    beforeAll(async () => {
      kernel = await KernelLink.start({ tcp: (request) => request.reset(), udp: (flow) => flow.close() });
    });
    afterAll(async () => await kernel[Symbol.asyncDispose]());

    async function publish(protocol: "tcp" | "udp", guest: number, rules: string[] = []) {
      const records: AuditRecord[] = [];
      const ports = await PublishedPorts.listen([{ bind: LOOPBACK[version], host: 0, guest, protocol }], {
        link: LONE_LINK,
        gateway: kernel.gateway,
        policy: () => policyOf("public", rules),
        audit: (record) => records.push(record),
      });
      onTestFinished(() => ports[Symbol.dispose]());
      return { port: ports.ports[0]!.host, records };
    }

    /** Says whom it answers, with what it was sent. */
    const server = (kind: string, act: string) =>
      kernel.python(`
import socket
s = socket.socket(socket.${version === 4 ? "AF_INET" : "AF_INET6"}, socket.${kind})
s.settimeout(20)
${act}`);

    /** What the guest says at last; a client that comes before the server is there is refused, and comes again. */
    async function overTcp(port: number, text: string): Promise<string> {
      for (;;) {
        const socket = connect({ host: LOOPBACK[version], port });
        socket.end(text);
        try {
          return Buffer.concat(await socket.toArray()).toString();
        } catch (error) {
          expect(error).toMatchObject({ code: "ECONNRESET" });
        }
      }
    }

    test("TCP: bytes both ways, and the client's address", { timeout: 30_000 }, async () => {
      const { port, records } = await publish("tcp", 8000);
      const script = server(
        "SOCK_STREAM",
        `
s.bind(("", 8000)); s.listen()
c, (address, *_) = s.accept()
said = b""
while part := c.recv(1 << 16): said += part
c.sendall(address.encode() + b" " + said)
c.close()`,
      );
      expect(await overTcp(port, "hello")).toBe(`${HOST[version]} hello`);
      await script;
      await expect
        .poll(() => records.at(-1))
        .toMatchObject({
          direction: "ingress",
          address: LOOPBACK[version],
          allowed: true,
          bytesIn: 5,
        });
    });

    test("UDP: datagrams both ways", { timeout: 30_000 }, async () => {
      const { port } = await publish("udp", 8001);
      const script = server(
        "SOCK_DGRAM",
        `
s.bind(("", 8001))
said, whom = s.recvfrom(1 << 16)
s.sendto(whom[0].encode() + b" " + said, whom)`,
      );
      const client = createSocket(version === 4 ? "udp4" : "udp6");
      onTestFinished(() => void client.close());
      const answered = once(client, "message");
      // The first may come before the server is there.
      const again = setInterval(() => client.send("hello", port, LOOPBACK[version]), 100);
      const [answer] = await answered.finally(() => clearInterval(again));
      expect(String(answer)).toBe(`${HOST[version]} hello`);
      await script;
    });

    test("a client that a rule denies is reset, and told of", async () => {
      const { port, records } = await publish("tcp", 8002, [`deny ingress any tcp:8002`]);
      const socket = connect({ host: LOOPBACK[version], port });
      await expect(socket.toArray()).rejects.toMatchObject({ code: "ECONNRESET" });
      expect(records).toMatchObject([{ allowed: false, rule: "deny ingress any tcp:8002" }]);
    });
  },
);
