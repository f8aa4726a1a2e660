import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { expect, onTestFinished } from "vitest";
import type { NetworkScope } from "../../../contract/network.ts";
import { DnsService } from "../dns/service.ts";
import type { AuditRecord } from "../outward/audit.ts";
import { dialHost } from "../outward/dial.ts";
import { Outward } from "../outward/outward.ts";
import { zone } from "./dns-messages.ts";
import { FakeRequest, tableOf } from "./guest.ts";
import { ip, policyOf } from "./policy-of.ts";

/** A server that stands for all the world's; what it received, and its connections. */
export async function world(onConnection: (socket: Socket) => void = (socket) => socket.pipe(socket)) {
  const received: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => received.push(chunk));
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    text: () => Buffer.concat(received).toString("latin1"),
  };
}

interface Setup {
  scope?: NetworkScope;
  rules?: string[];
  names?: Record<string, string[]>;
  /** Port on the loopback that all dials end at. */
  port?: number;
  over?: Partial<ConstructorParameters<typeof Outward>[0]>;
  now?: () => number;
}

/** What goes outwards of one sandbox, with all that it tells. */
export function outwardOf({ scope = "public", rules = [], names = {}, port = 1, over = {}, now }: Setup) {
  const audit: AuditRecord[] = [];
  const dialled: string[] = [];
  const table = tableOf(names, now);
  const policy = policyOf(scope, rules);
  const outward: Outward = new Outward({
    policy,
    table,
    dns: new DnsService({
      policy: () => outward.policy,
      resolver: zone("a.example 9 A 8.8.8.8"),
      table,
      local: { addressesOf: () => undefined, nameOf: () => undefined },
    }),
    landmarks: { gateway: [ip("10.209.0.1")], host: [ip("10.209.0.254"), ip("fd6d:7362::fe")] },
    unreachable: (flow, code) => (flow as FakeRequest).unreachable(code),
    dial: (address, to, options) => {
      dialled.push(`${address.text} ${to}`);
      return dialHost("127.0.0.1", port, options);
    },
    dialLocal: (address, to, options) => {
      dialled.push(`local ${address.text} ${to}`);
      return dialHost("127.0.0.1", port, options);
    },
    connections: 8,
    audit: (record) => audit.push(record),
    ...over,
  });
  onTestFinished(() => outward.close());
  const open = (address: string, to = 443) => {
    const request = new FakeRequest(address, to);
    outward.tcp(request);
    return request;
  };
  /** Sends, and gives what came back until the end. */
  const exchange = async (address: string, to: number, bytes: string | Buffer) => {
    const request = open(address, to);
    expect(await request.told).toBe("accepted");
    request.guest!.end(bytes);
    return { request, answer: await request.read() };
  };
  const ended = async () => {
    await expect.poll(() => outward.size).toBe(0);
  };
  return { outward, audit, dialled, open, exchange, ended };
}
