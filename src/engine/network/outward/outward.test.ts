import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import type { NetworkScope } from "../../../contract/network.ts";
import { buildMessage, parseMessage } from "../dns/message.ts";
import { DnsService } from "../dns/service.ts";
import { hello } from "../testing/client-hello.ts";
import { queryOf, zone } from "../testing/dns-messages.ts";
import { FakeDatagrams, FakeRequest, tableOf } from "../testing/guest.ts";
import { ip, policyOf } from "../testing/policy-of.ts";
import type { AuditRecord } from "./audit.ts";
import { dialHost } from "./dial.ts";
import { Outward } from "./outward.ts";
import { TokenBucket } from "./token-bucket.ts";

/** A server that stands for all the world's; what it received, and its connections. */
async function world(onConnection: (socket: Socket) => void = (socket) => socket.pipe(socket)) {
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

function outwardOf({ scope = "public", rules = [], names = {}, port = 1, over = {}, now }: Setup) {
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

const GOOD = { "good.example": ["8.8.8.8"] };
const RULES = ["allow egress domain:good.example"];
const get = (host: string) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

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
  const { answer } = await exchange("10.0.0.1", 80, get("x"));
  expect(answer).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
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

/** Ways out of a rule for one name: each with what is dialled, if anything, and what the guest sends. */
const WAYS_OUT: [what: string, address: string, port: number, bytes: string | Buffer][] = [
  ["TLS for another name", "8.8.8.8", 443, hello("evil.example")],
  ["TLS for a name below it", "8.8.8.8", 443, hello("x.good.example")],
  ["TLS for a name above it", "8.8.8.8", 443, hello("example")],
  ["TLS without a name", "8.8.8.8", 443, hello()],
  ["TLS for another name in tiny records", "8.8.8.8", 443, hello("evil.example", 1)],
  ["TLS for another allowed name that has another address", "8.8.8.8", 443, hello("also.example")],
  ["TLS for another name on an odd port", "8.8.8.8", 2053, hello("evil.example")],
  [
    "a second ClientHello for another name",
    "8.8.8.8",
    443,
    Buffer.concat([hello("good.example"), hello("evil.example")]),
  ],
  ["a request for another host", "8.8.8.8", 80, get("evil.example")],
  ["a request for another host on an odd port", "8.8.8.8", 9000, get("evil.example")],
  ["a request for an address", "8.8.8.8", 80, get("10.0.0.1")],
  ["a second request for another host", "8.8.8.8", 80, get("good.example") + get("evil.example")],
  ["HTTP/2 without TLS", "8.8.8.8", 80, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["SSH on the port of TLS", "8.8.8.8", 443, "SSH-2.0-x\r\n"],
];

test.each(WAYS_OUT)("a rule for a name does not let %s out", async (_, address, to, bytes) => {
  const server = await world(() => {});
  const { exchange, audit } = outwardOf({
    scope: "group",
    rules: [...RULES, "allow egress domain:also.example"],
    names: { ...GOOD, "also.example": ["9.9.9.9"] },
    port: server.port,
  });
  await exchange(address, to, bytes);
  expect(server.text()).not.toContain("evil");
  expect(server.text()).not.toContain("also");
  expect(server.text()).not.toContain("PRI");
  expect(audit).toEqual([expect.objectContaining({ allowed: false })]);
});

test.each<[what: string, address: string, names: Record<string, string[]>, protocol: "tcp" | "udp"]>([
  ["another address than it was given", "8.8.4.4", GOOD, "tcp"],
  ["an address that was given for another name", "8.8.8.8", { "evil.example": ["8.8.8.8"] }, "tcp"],
  ["an address that nothing was given for", "8.8.8.8", {}, "tcp"],
  ["a private address that it was given", "10.0.0.1", { "good.example": ["10.0.0.1"] }, "tcp"],
  ["metadata that it was given", "169.254.169.254", { "good.example": ["169.254.169.254"] }, "tcp"],
  ["the host's own address that it was given", "93.184.216.99", { "good.example": ["93.184.216.99"] }, "tcp"],
  ["QUIC", "8.8.8.8", GOOD, "udp"],
])("nor does it open %s", async (_, address, names, protocol) => {
  const { open, outward, dialled } = outwardOf({ scope: "group", rules: RULES, names });
  if (protocol === "tcp") expect(await open(address).told).toBe("reset");
  else {
    const flow = new FakeDatagrams(address, 443, "initial");
    outward.udp(flow);
    expect(flow.codes).toEqual(["prohibited"]);
  }
  expect(dialled).toEqual([]);
});

test("a name whose time is over opens nothing new, and what is open stays", async () => {
  const { port } = await world();
  let now = 0;
  const { open } = outwardOf({ scope: "group", rules: RULES, names: GOOD, port, now: () => now });
  const first = open("8.8.8.8");
  expect(await first.told).toBe("accepted");
  now = 60_000;
  expect(await open("8.8.8.8").told).toBe("reset");
  const tls = hello("good.example");
  first.guest!.end(tls);
  expect(await first.read()).toBe(tls.toString("latin1"));
});

test("what agrees with the rule's name passes, whole", async () => {
  const { port } = await world();
  const { exchange, audit, ended } = outwardOf({ scope: "group", rules: RULES, names: GOOD, port });
  for (const [to, bytes] of [
    [443, hello("good.example")],
    [80, get("Good.example")],
    [22, "SSH-2.0-x\r\n"],
  ] as const)
    expect((await exchange("8.8.8.8", to, bytes)).answer).toBe(bytes.toString("latin1"));
  await ended();
  expect(audit.map(({ allowed, name, rule }) => [allowed, name, rule])).toEqual(
    Array(3).fill([true, "good.example", RULES[0]]),
  );
});

test("a refused request reads the rule, a refused TLS client an alert", async () => {
  const { port } = await world(() => {});
  const { exchange } = outwardOf({ scope: "group", rules: RULES, names: GOOD, port });
  const page = (await exchange("8.8.8.8", 80, get("evil.example"))).answer;
  expect(page).toContain("403 Forbidden");
  expect(page).toContain("the connection is for evil.example");
  expect(page).toContain(`Microsandbox-Rule: ${RULES[0]}`);
  const alert = (await exchange("8.8.8.8", 443, hello("evil.example"))).answer;
  expect(Buffer.from(alert, "latin1").toString("hex")).toBe("15030300020231");
});

test("a server may greet first; a guest that never says whom it wants is cut off", async () => {
  const { port } = await world((socket) => socket.write("220 hello\r\n"));
  const { open } = outwardOf({
    scope: "group",
    rules: RULES,
    names: GOOD,
    port,
    over: { nameTimeoutMs: 20 },
  });
  const request = open("8.8.8.8", 25);
  await request.told;
  const [greeting] = await once(request.guest!, "data");
  expect(greeting.toString()).toBe("220 hello\r\n");
  request.guest!.write("GET / HTT");
  await expect.poll(() => request.wasReset).toBe(true);
});

test("a denied name is seen in TLS to an address that nothing was given for", async () => {
  const server = await world(() => {});
  const { exchange, audit } = outwardOf({ rules: ["deny egress domain:*.evil.example"], port: server.port });
  await exchange("8.8.8.8", 443, hello("a.evil.example"));
  expect(server.text()).toBe("");
  expect(audit).toEqual([
    expect.objectContaining({
      allowed: false,
      name: "a.evil.example",
      rule: "deny egress domain:*.evil.example",
    }),
  ]);
  const fine = await world();
  const open = outwardOf({ rules: ["deny egress domain:*.evil.example"], port: fine.port });
  for (const bytes of [hello("b.example"), hello(), "SSH-2.0-x\r\n"])
    expect((await open.exchange("8.8.8.8", 443, bytes)).answer).toBe(bytes.toString("latin1"));
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

test("a limit on bytes is held by whoever wants more", async () => {
  let now = 0;
  const bucket = new TokenBucket(1000, () => now);
  const signal = new AbortController();
  await bucket.take(100, signal.signal);
  expect(bucket.tryTake(1)).toBe(false);
  const waiting = bucket.take(50, signal.signal);
  now = 50;
  await waiting;
  expect(bucket.tryTake(1)).toBe(false);
  now = 10_000;
  expect(bucket.tryTake(100)).toBe(true);
  expect(bucket.tryTake(1)).toBe(false);
  const never = bucket.take(1, signal.signal);
  signal.abort();
  await never;
});
