import fc from "fast-check";
import { expect, test } from "vitest";
import type { NetworkScope } from "../../../contract/network.ts";
import { queryOf, record, zone } from "../testing/dns-messages.ts";
import { ip, policyOf } from "../testing/policy-of.ts";
import { buildMessage, type DnsMessage, parseMessage } from "./message.ts";
import { NameTable } from "./name-table.ts";
import { CLASS_IN, RCODE, TYPE } from "./record-types.ts";
import type { Resolver } from "./resolver.ts";
import { DnsService, type QuestionRecord } from "./service.ts";

const never = new AbortController().signal;

function serviceOf(resolver: Resolver, rules: string[] = [], scope: NetworkScope = "public") {
  const table = new NameTable(() => 0);
  const log: QuestionRecord[] = [];
  const policy = policyOf(scope, rules);
  const service = new DnsService({
    policy: () => policy,
    resolver,
    table,
    local: {
      addressesOf: (name) =>
        name === "host.microsandbox.internal" ? [ip("10.209.0.254"), ip("fd6d:7362::fe")] : undefined,
      nameOf: (address) => (address.text === "10.209.0.254" ? "host.microsandbox.internal" : undefined),
    },
    onQuestion: (each) => log.push(each),
  });
  const ask = async (name: string, type: number = TYPE.A, over: Partial<DnsMessage> = {}) => {
    const bytes = await service.answer(buildMessage(queryOf(name, type, over)), "udp", never);
    return { ...parseMessage(bytes!)!, bytes: bytes! };
  };
  return { service, table, log, ask };
}

const addresses = (message: DnsMessage) =>
  message.answers.filter(({ type }) => type === 1).map(({ data }) => data.join("."));

test("an answer is told, and noted for the name that was asked", async () => {
  const { ask, table, log } = serviceOf(zone("a.example 300 A 8.8.8.8", "a.example 300 A 8.8.4.4"));
  const answer = await ask("A.example");
  expect(answer).toMatchObject({
    id: 0x1234,
    response: true,
    recursionAvailable: true,
    rcode: RCODE.NOERROR,
  });
  expect(answer.question.labels).toEqual(["A", "example"]);
  expect(addresses(answer)).toEqual(["8.8.8.8", "8.8.4.4"]);
  expect(table.namesOf(ip("8.8.8.8"))).toEqual(["a.example"]);
  expect(log).toEqual([
    {
      name: "a.example",
      type: "A",
      allowed: true,
      rule: "scope public",
      reason: "the name a.example is allowed by the scope public",
      addresses: ["8.8.8.8", "8.8.4.4"],
    },
  ]);
});

test("a name that is denied is not asked for, does not exist, and says why", async () => {
  const resolver = zone("secret.evil.example 1 A 8.8.8.8");
  const { ask, log } = serviceOf(resolver, ["allow egress domain:a.example", "deny egress any"]);
  const answer = await ask("secret.evil.example");
  expect(answer).toMatchObject({ rcode: RCODE.NXDOMAIN, answers: [] });
  expect(answer.bytes.toString("latin1")).toContain("is denied by the rule 'deny egress any'");
  expect(resolver.asked).toEqual([]);
  expect(log[0]).toMatchObject({ allowed: false, rule: "deny egress any" });
});

test.each(["10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.5", "0.0.0.0", "10.209.0.1", "100.64.0.1"])(
  "rebinding: a public name that leads to %s leads nowhere",
  async (address) => {
    const { ask, table, log } = serviceOf(zone(`a.example 1 A ${address}`), [
      "allow egress domain:a.example",
    ]);
    expect(await ask("a.example")).toMatchObject({ rcode: RCODE.NOERROR, answers: [] });
    expect(table.size).toBe(0);
    expect(log[0]).toMatchObject({ allowed: false, addresses: [] });
  },
);

test.each(["::1", "::ffff:10.0.0.1", "fd00:ec2::254", "64:ff9b::10.0.0.1", "fe80::1", "2002:a00:1::", "::"])(
  "rebinding over IPv6: %s is not told either",
  async (address) => {
    const { ask, table } = serviceOf(zone(`a.example 1 AAAA ${address}`));
    expect(await ask("a.example", TYPE.AAAA)).toMatchObject({ rcode: RCODE.NOERROR, answers: [] });
    expect(table.size).toBe(0);
  },
);

test("of mixed answers the public ones stay; a rule for the address lets the private one through", async () => {
  const lines = ["a.example 1 A 8.8.8.8", "a.example 1 A 10.0.0.1"];
  expect(addresses(await serviceOf(zone(...lines)).ask("a.example"))).toEqual(["8.8.8.8"]);
  const opened = serviceOf(zone(...lines), ["allow egress 10.0.0.0/24 tcp:5432"]);
  expect(addresses(await opened.ask("a.example"))).toEqual(["8.8.8.8", "10.0.0.1"]);
});

test("aliases: the asked name gets the final address, for as long as the weakest link holds", async () => {
  let now = 0;
  const { ask, service, table } = serviceOf(
    zone(
      "a.example 70 CNAME b.cdn.example",
      "b.cdn.example 900 CNAME c.cdn.example",
      "c.cdn.example 900 A 8.8.8.8",
    ),
    ["allow egress domain:a.example"],
    "group",
  );
  expect(service).toBeDefined();
  expect(addresses(await ask("a.example"))).toEqual(["8.8.8.8"]);
  expect(table.namesOf(ip("8.8.8.8"))).toEqual(["a.example"]);
  // The same, on a table with a clock.
  const timed = new NameTable(() => now);
  timed.give("a.example", ip("8.8.8.8"), 70);
  now = 70_000;
  expect(timed.namesOf(ip("8.8.8.8"))).toEqual([]);
});

test("records of other names in an answer are not told and not noted", async () => {
  const { ask, table } = serviceOf(
    zone(
      "a.example 9 A 8.8.8.8",
      "bank.example 9 A 6.6.6.6",
      "a.example 9 NS ns.example",
      "x.example 9 CNAME a.example",
    ),
  );
  expect((await ask("a.example")).answers).toHaveLength(1);
  expect(table.size).toBe(1);
});

test("an alias in a circle ends", async () => {
  const { ask } = serviceOf(zone("a.example 9 CNAME b.example", "b.example 9 CNAME a.example"));
  expect((await ask("a.example")).answers).toHaveLength(2);
});

test("an alias that a rule denies denies the name", async () => {
  const lines = ["a.example 9 CNAME x.tracker.example", "x.tracker.example 9 A 8.8.8.8"];
  const { ask } = serviceOf(zone(...lines), ["deny egress domain:*.tracker.example"]);
  expect(await ask("a.example")).toMatchObject({ rcode: RCODE.NXDOMAIN, answers: [] });
  const before = serviceOf(zone(...lines), [
    "allow egress domain:a.example",
    "deny egress domain:*.tracker.example",
  ]);
  expect(addresses(await before.ask("a.example"))).toEqual(["8.8.8.8"]);
});

test("a rule for an alias does not open what another name leads to", async () => {
  const lines = ["evil.example 9 CNAME good.example", "good.example 9 A 6.6.6.6"];
  const resolver = zone(...lines);
  const { ask, table } = serviceOf(resolver, ["allow egress domain:good.example"], "group");
  expect(await ask("evil.example")).toMatchObject({ rcode: RCODE.NXDOMAIN });
  expect(resolver.asked).toEqual([]);
  expect(table.size).toBe(0);
});

test("HTTPS: private hints, keys that hide names, and other names are taken out", async () => {
  // Priority 1, name ".", alpn h2, ipv4hint 8.8.8.8 and 10.0.0.1, ech, ipv6hint ::1.
  const data =
    "000100" +
    "0001000302683200".slice(0, 14) +
    "0004000808080808" +
    "0a000001" +
    "00050002abcd" +
    `00060010${"0".repeat(31)}1`;
  const open = serviceOf(zone(`a.example 9 HTTPS ${data}`));
  const answer = await open.ask("a.example", TYPE.HTTPS);
  expect(Buffer.from(answer.answers[0]!.data).toString("hex")).toBe(
    "000100" + "00010003026832" + "000400040808080800050002abcd",
  );
  expect(open.table.namesOf(ip("8.8.8.8"))).toEqual(["a.example"]);
  const named = serviceOf(zone(`a.example 9 HTTPS ${data}`), ["allow egress domain:a.example"]);
  const without = await named.ask("a.example", TYPE.HTTPS);
  expect(Buffer.from(without.answers[0]!.data).toString("hex")).toBe(
    "000100" + "00010003026832" + "0004000408080808",
  );
  const other = serviceOf(zone("a.example 9 HTTPS 0001016100"), ["allow egress domain:a.example"]);
  expect((await other.ask("a.example", TYPE.HTTPS)).answers).toEqual([]);
});

test.each<[name: string, type: number, rcode: number]>([
  ["intranet", TYPE.A, RCODE.NXDOMAIN],
  ["printer.local", TYPE.A, RCODE.NXDOMAIN],
  ["x.onion", TYPE.A, RCODE.NXDOMAIN],
  ["_dns.resolver.arpa", TYPE.SVCB, RCODE.NXDOMAIN],
  ["db.group.internal", TYPE.A, RCODE.NXDOMAIN],
  ["1.0.0.10.in-addr.arpa", TYPE.PTR, RCODE.NXDOMAIN],
  ["1.0.0.127.in-addr.arpa", TYPE.PTR, RCODE.NXDOMAIN],
  [`${"0.".repeat(30)}d.f.ip6.arpa`, TYPE.PTR, RCODE.NXDOMAIN],
  ["a.example", TYPE.ANY, RCODE.REFUSED],
  ["a.example", TYPE.AXFR, RCODE.REFUSED],
  ["a.example", TYPE.IXFR, RCODE.REFUSED],
  ["a b.example", TYPE.A, RCODE.REFUSED],
  ["127.1", TYPE.A, RCODE.REFUSED],
  ["", TYPE.NS, RCODE.REFUSED],
])("%s, type %i, is not asked for outside: %i", async (name, type, rcode) => {
  const resolver = zone("a.example 1 A 8.8.8.8");
  expect(await serviceOf(resolver).ask(name, type)).toMatchObject({ rcode, answers: [] });
  expect(resolver.asked).toEqual([]);
});

test("a label with a dot inside does not pass for two", async () => {
  const resolver = zone("a.example 1 A 8.8.8.8");
  const question = { labels: ["x", "a.example"], type: 1, class: CLASS_IN };
  expect(await serviceOf(resolver).ask("", 1, { question })).toMatchObject({ rcode: RCODE.REFUSED });
  expect(resolver.asked).toEqual([]);
});

test("the gateway's own names are answered here, both ways", async () => {
  const { ask } = serviceOf(zone());
  expect(addresses(await ask("Host.microsandbox.internal"))).toEqual(["10.209.0.254"]);
  expect((await ask("host.microsandbox.internal", TYPE.AAAA)).answers).toHaveLength(1);
  expect(await ask("host.microsandbox.internal", TYPE.TXT)).toMatchObject({
    rcode: RCODE.NOERROR,
    answers: [],
  });
  expect(addresses(await ask("x.localhost"))).toEqual(["127.0.0.1"]);
  expect(await ask("254.0.209.10.in-addr.arpa", TYPE.PTR)).toMatchObject({ answers: [{ type: TYPE.PTR }] });
});

test.each<[what: string, over: Partial<DnsMessage>, rcode: number]>([
  ["an update", { opcode: 5 }, RCODE.NOTIMP],
  ["records in a question", { answers: [record("a.example 1 A 8.8.8.8")] }, RCODE.FORMERR],
  ["EDNS version 1", { edns: { size: 1232, version: 1, dnssec: false } }, RCODE.BADVERS],
  ["class CHAOS", { question: { labels: ["version", "bind"], type: 16, class: 3 } }, RCODE.REFUSED],
])("%s is refused", async (_, over, rcode) => {
  const resolver = zone("a.example 1 A 8.8.8.8");
  expect(await serviceOf(resolver).ask("a.example", 1, over)).toMatchObject({ rcode });
  expect(resolver.asked).toEqual([]);
});

test("what cannot be read gets its id back; answers get none", async () => {
  const { service } = serviceOf(zone());
  const broken = Buffer.from("beef01000001000000000000ff", "hex");
  expect((await service.answer(broken, "udp", never))?.toString("hex")).toBe("beef81810000000000000000");
  expect(await service.answer(broken.subarray(0, 5), "udp", never)).toBeUndefined();
  expect(
    await service.answer(buildMessage(queryOf("a.b", 1, { response: true })), "udp", never),
  ).toBeUndefined();
});

test("a long answer is cut over UDP to what the guest takes, and whole over TCP", async () => {
  const lines = Array.from({ length: 60 }, (_, i) => `a.example 1 A 8.8.8.${i}`);
  const { ask, service } = serviceOf(zone(...lines));
  const plain = await ask("a.example", 1, { edns: undefined });
  expect(plain).toMatchObject({ truncated: true, answers: [], edns: undefined });
  expect((await ask("a.example", 1)).answers).toHaveLength(60);
  const whole = await service.answer(
    buildMessage(queryOf("a.example", 1, { edns: undefined })),
    "tcp",
    never,
  );
  expect(parseMessage(whole!)).toMatchObject({ truncated: false });
  expect(parseMessage(whole!)?.answers).toHaveLength(60);
});

test("resolvers that do not answer are a failure with its reason", async () => {
  const { ask } = serviceOf({ resolve: () => Promise.reject(new Error("ETIMEDOUT")) });
  const answer = await ask("a.example");
  expect(answer.rcode).toBe(RCODE.SERVFAIL);
  expect(answer.bytes.toString("latin1")).toContain("ETIMEDOUT");
});

test("more than 256 questions at a time are refused", async () => {
  const { promise, resolve } = Promise.withResolvers<DnsMessage>();
  const { service } = serviceOf({ resolve: () => promise });
  const question = buildMessage(queryOf("a.example"));
  const waiting = Array.from({ length: 256 }, () => service.answer(question, "udp", never));
  expect(parseMessage((await service.answer(question, "udp", never))!)?.rcode).toBe(RCODE.REFUSED);
  resolve({ ...queryOf("a.example"), response: true });
  expect(parseMessage((await waiting[255])!)?.rcode).toBe(RCODE.NOERROR);
});

test("whatever a guest sends and a resolver answers, it is answered well or not at all", async () => {
  const valid = buildMessage(queryOf("a.example", TYPE.HTTPS));
  const change = fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 80 }),
      change,
      fc.uint8Array({ maxLength: 60 }),
      async (bytes, changes, data) => {
        const mutated = Buffer.from(valid);
        for (const [at, value] of changes) if (at < mutated.length) mutated[at] = value;
        const answers = [{ ...record("a.example 1 TXT 00"), type: TYPE.HTTPS, data }];
        const { service } = serviceOf({
          resolve: async (question) => ({ ...queryOf(""), question, response: true, answers }),
        });
        for (const query of [bytes, mutated]) {
          const answer = await service.answer(query, "udp", never);
          if (answer === undefined) continue;
          expect(answer.subarray(0, 2)).toEqual(Buffer.from(query.subarray(0, 2)));
          expect(answer.length === 12 || parseMessage(answer)?.response).toBe(true);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
