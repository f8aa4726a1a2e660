import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import type { IpAddress } from "../../../contract/ip-address.ts";
import { buildMessage, parseMessage } from "../dns/message.ts";
import { queryOf } from "../testing/dns-messages.ts";
import { FakeDatagrams } from "../testing/guest.ts";
import { outwardOf, world } from "../testing/outward-of.ts";
import { policyOf } from "../testing/policy-of.ts";

test("bytes go both ways, ends go both ways, and the audit knows how many", async () => {
  const { port } = await world();
  const { exchange, dialled, audit, ended } = outwardOf({ port });
  const { answer } = await exchange("8.8.8.8", 443, "x".repeat(300_000));
  expect(answer).toBe("x".repeat(300_000));
  await ended();
  expect(dialled).toEqual(["8.8.8.8 443"]);
  expect(audit).toEqual([
    {
      time: expect.any(Number),
      direction: "egress",
      protocol: "tcp",
      address: "8.8.8.8",
      port: 443,
      rule: "scope public",
      allowed: true,
      reason: "8.8.8.8 (global unicast, RFC 791) is within the scope public",
      bytesOut: 300_000,
      bytesIn: 300_000,
      durationMs: expect.any(Number),
    },
  ]);
});

test("what is denied is reset at once and not dialled; on port 80 a page says why", async () => {
  const { open, exchange, dialled, audit } = outwardOf({});
  expect(await open("10.0.0.1").told).toBe("reset");
  const { answer } = await exchange("10.0.0.1", 80, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(answer).toMatch(/^HTTP\/1\.1 403 Forbidden by scope public\r\n/);
  expect(answer).toContain("Decided by: scope public");
  expect(dialled).toEqual([]);
  expect(audit.map(({ allowed, port }) => [allowed, port])).toEqual([
    [false, 443],
    [false, 80],
  ]);
});

test("the host's address leads to its loopback, where a rule allows it", async () => {
  const { port } = await world();
  const closed = outwardOf({ port });
  expect(await closed.open("10.209.0.254").told).toBe("reset");
  const { exchange, dialled } = outwardOf({ port, rules: ["allow egress host tcp:5432"] });
  expect((await exchange("10.209.0.254", 5432, "hi")).answer).toBe("hi");
  expect((await exchange("fd6d:7362::fe", 5432, "hi")).answer).toBe("hi");
  expect(dialled).toEqual(["local 127.0.0.1 5432", "local ::1 5432"]);
});

test.each([
  ["ECONNREFUSED", "reset"],
  ["EHOSTUNREACH", "host"],
  ["ENETUNREACH", "network"],
  ["ETIMEDOUT", "dropped"],
  ["EMFILE", "reset"],
])("a dial that ends in %s is %s to the guest", async (code, fate) => {
  const dial = () => Promise.reject(Object.assign(new Error(code), { code }));
  const { open, audit, ended } = outwardOf({ over: { dial } });
  expect(await open("8.8.8.8").told).toBe(fate);
  await ended();
  expect(audit[0]).toMatchObject({ allowed: true, reason: expect.stringContaining(code) });
});

test("a real refusal is one", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const free = (server.address() as AddressInfo).port;
  server.close();
  await once(server, "close");
  expect(await outwardOf({ port: free }).open("8.8.8.8").told).toBe("reset");
});

test("a guest that gives up ends the dial", async () => {
  const dialling = Promise.withResolvers<AbortSignal>();
  const { open, ended } = outwardOf({
    over: {
      dial: (_address, _port, { signal }) => {
        dialling.resolve(signal);
        return new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => reject(new Error("aborted"))),
        );
      },
    },
  });
  const request = open("8.8.8.8");
  const signal = await dialling.promise;
  request.giveUp();
  expect(signal.aborted).toBe(true);
  await ended();
});

test("a reset of either side is one of the other", async () => {
  const { port, sockets } = await world();
  const { open, ended } = outwardOf({ port });
  const request = open("8.8.8.8");
  await request.told;
  await expect.poll(() => sockets.length).toBe(1);
  sockets[0]!.resetAndDestroy();
  await expect.poll(() => request.wasReset).toBe(true);
  const second = open("8.8.8.8");
  await second.told;
  await expect.poll(() => sockets.length).toBe(2);
  const [error] = await Promise.all([once(sockets[1]!, "close"), second.guest!.destroy()]);
  expect(error).toBeDefined();
  await ended();
});

test("one more connection than is allowed is refused", async () => {
  const { port } = await world();
  const { open } = outwardOf({ port, over: { connections: 2 } });
  expect(await open("8.8.8.8").told).toBe("accepted");
  expect(await open("8.8.8.8").told).toBe("accepted");
  expect(await open("8.8.8.8").told).toBe("reset");
});

test("new rules close what they would not let through, and leave the rest", async () => {
  const { port } = await world();
  const { outward, open, audit } = outwardOf({ port, names: { "a.example": ["9.9.9.9"] } });
  const [denied, kept, named] = [open("8.8.8.8"), open("8.8.4.4"), open("9.9.9.9")];
  for (const each of [denied, kept, named]) expect(await each.told).toBe("accepted");
  const flow = new FakeDatagrams("8.8.8.8", 123);
  outward.udp(flow);
  outward.update(policyOf("public", ["deny egress 8.8.8.8", "deny egress domain:a.example"]));
  expect([denied.wasReset, kept.wasReset, named.wasReset]).toEqual([true, false, true]);
  expect(flow).toMatchObject({ closed: true, codes: ["prohibited"] });
  expect(audit.map(({ rule }) => rule).toSorted()).toEqual([
    "deny egress 8.8.8.8",
    "deny egress 8.8.8.8",
    "deny egress domain:a.example",
  ]);
  kept.guest!.end("still here");
  expect(await kept.read()).toBe("still here");
});

test("rules that come while a dial is on its way count", async () => {
  const dial = () => new Promise<never>(() => {});
  const { outward, open } = outwardOf({ over: { dial } });
  const request = open("8.8.8.8");
  outward.update(policyOf("public", ["deny egress any"]));
  expect(await request.told).toBe("reset");
});

test("what goes to an address that is not known yet waits, counts, and ends with the network", async () => {
  const { port } = await world();
  let survey: PromiseWithResolvers<void> | undefined = Promise.withResolvers<void>();
  const unsurveyed = ({ version }: IpAddress) => (version === 6 ? survey?.promise : undefined);
  const { outward, open, dialled } = outwardOf({ port, over: { unsurveyed, connections: 3 } });
  expect(await open("8.8.8.8").told).toBe("accepted");
  const waiting = open("2a00:1450::1");
  const flow = new FakeDatagrams("2a00:1450::1", 123);
  outward.udp(flow);
  expect(outward.size).toBe(3);
  expect(await open("2a00:1450::2").told).toBe("reset");
  expect(dialled).toEqual(["8.8.8.8 443"]);
  const { resolve } = survey;
  survey = undefined;
  resolve();
  expect(await waiting.told).toBe("accepted");
  survey = Promise.withResolvers<void>();
  flow.close();
  await expect.poll(() => outward.size).toBe(2);
  const late = open("2a00:1450::1");
  outward.close();
  survey.resolve();
  survey = undefined;
  expect(await late.told).toBe("reset");
});

test("what the guest gives up while it waits for that is not dialled", async () => {
  const { port } = await world();
  let survey: PromiseWithResolvers<void> | undefined = Promise.withResolvers<void>();
  const { open, dialled, audit, ended } = outwardOf({ port, over: { unsurveyed: () => survey?.promise } });
  open("2a00:1450::1").giveUp();
  const { resolve } = survey;
  survey = undefined;
  resolve();
  await ended();
  expect(audit).toMatchObject([{ address: "2a00:1450::1", allowed: true }]);
  expect(dialled).toEqual([]);
});

test("datagrams go both ways over a socket of their own; a closed port is told", async () => {
  const server = createSocket("udp4");
  server.on("message", (bytes, from) => server.send(`${bytes}!`, from.port, from.address));
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  const { outward, audit, ended } = outwardOf({ rules: ["allow egress host"] });
  const flow = new FakeDatagrams("10.209.0.254", port);
  const reply = flow.nextReply();
  outward.udp(flow);
  flow.send("hello");
  expect(await reply).toBe("hello!");
  server.close();
  await once(server, "close");
  const told = once(flow, "told");
  flow.send("anybody there?");
  expect((await told)[0]).toBe("port");
  flow.close();
  await ended();
  expect(audit).toEqual([
    expect.objectContaining({ protocol: "udp", bytesOut: 19, bytesIn: 6, allowed: true }),
  ]);
});

test("port 53 of any address is our own DNS; other ports of the gateway are closed", async () => {
  const { outward, open, exchange, dialled } = outwardOf({});
  const query = buildMessage(queryOf("a.example"));
  for (const address of ["10.209.0.1", "1.1.1.1", "10.0.0.53"]) {
    const flow = new FakeDatagrams(address, 53);
    const reply = once(flow, "reply");
    outward.udp(flow);
    flow.send(query);
    expect(parseMessage((await reply)[0])?.answers).toHaveLength(1);
    const framed = Buffer.concat([Buffer.of(0, query.length), query]);
    const { answer } = await exchange(address, 53, framed);
    expect(parseMessage(Buffer.from(answer, "latin1").subarray(2))?.answers).toHaveLength(1);
    flow.close();
  }
  expect(await open("10.209.0.1", 80).told).toBe("reset");
  const other = new FakeDatagrams("10.209.0.1", 54, "x");
  outward.udp(other);
  expect(other).toMatchObject({ closed: true, codes: ["port"] });
  expect(dialled).toEqual([]);
});
