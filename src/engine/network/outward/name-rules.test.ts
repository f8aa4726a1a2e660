import { once } from "node:events";
import { expect, test } from "vitest";
import { hello } from "../testing/client-hello.ts";
import { FakeDatagrams } from "../testing/guest.ts";
import { outwardOf, world } from "../testing/outward-of.ts";

const GOOD = { "good.example": ["8.8.8.8"] };
const RULES = ["allow egress domain:good.example"];
const get = (host: string) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

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
