import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { networkQuestion } from "../../../contract/network-record.ts";
import { RCODE, TYPE } from "../dns/record-types.ts";
import { parseUdp } from "../packet/udp.ts";
import { GroupGuest, groupPair } from "../testing/group-guest.ts";
import { ip } from "../testing/packets.ts";
import { Groups } from "./group.ts";

/** Whole stacks in one process, whose guests are written by hand. */

const addressesIn = ({ answers }: { answers: { data: Uint8Array }[] }): number[][] =>
  answers.map(({ data }) => [...data]);

describe("names", () => {
  test("of fellows are told, short and long, and of itself", async () => {
    const { web } = await groupPair();
    for (const name of ["db", "db.group.internal", "DB"])
      expect(addressesIn(await web.ask(name))).toEqual([[10, 210, 0, 3]]);
    expect(addressesIn(await web.ask("db", TYPE.AAAA))).toEqual([[...ip("fd6d:7363::3").bytes]]);
    expect(addressesIn(await web.ask("web"))).toEqual([[10, 210, 0, 2]]);
    const back = await web.ask("3.0.210.10.in-addr.arpa", TYPE.PTR);
    expect(Buffer.from(back.answers[0]!.data).toString("latin1")).toContain("db\u0005group\u0008internal");
  });

  test("of nobody, of another group and of no group do not exist", async () => {
    const { web, groups, open } = await groupPair();
    await open("far", 4, [], "other");
    await GroupGuest.open(groups, { name: "lone", number: 5, network: {} });
    for (const name of ["nobody", "far", "far.group.internal", "lone", "lone.group.internal", "x.db"])
      expect((await web.ask(name)).rcode, name).toBe(RCODE.NXDOMAIN);
  });

  test("nobody is localhost for others", async () => {
    const { web, open } = await groupPair();
    await open("localhost", 4);
    expect(addressesIn(await web.ask("localhost"))).toEqual([[127, 0, 0, 1]]);
    expect(addressesIn(await web.ask("localhost.group.internal"))).toEqual([[10, 210, 0, 4]]);
  });

  test("of one that has gone are gone", async () => {
    const { web, db } = await groupPair();
    await db.stack[Symbol.asyncDispose]();
    expect((await web.ask("db")).rcode).toBe(RCODE.NXDOMAIN);
  });
});

describe("TCP", () => {
  test.each([
    ["10.210.0.3", undefined, "10.210.0.2"],
    ["fd6d:7363::3", undefined, "fd6d:7363::2"],
    ["10.210.0.3", "10.209.0.2", "10.210.0.2"],
  ])("reaches a fellow at %s, from %s, as %s", async (to, from, seen) => {
    const { web, db } = await groupPair();
    expect(await web.exchange(to, 5432, "a question", from)).toBe("a question");
    expect(db.callers).toEqual([`${seen}:5432`]);
    const both = { kind: "connection", protocol: "tcp", port: 5432, allowed: true, rule: "scope group" };
    await expect
      .poll(() => [web.records, db.records])
      .toEqual([
        [
          expect.objectContaining({
            ...both,
            direction: "egress",
            address: to,
            name: "db",
            bytesOut: 10,
            bytesIn: 10,
          }),
        ],
        [
          expect.objectContaining({
            ...both,
            direction: "ingress",
            address: seen,
            name: "web",
            bytesOut: 10,
            bytesIn: 10,
          }),
        ],
      ]);
  });

  test("what the fellow refuses is refused", async () => {
    const { web, db } = await groupPair();
    db.closed.add(1);
    await expect(web.connect("10.210.0.3", 1)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("the caller's rules deny it, and the callee does not hear of it", async () => {
    const { web, db } = await groupPair({ web: ["deny egress domain:db.group.internal tcp:22"] });
    await expect(web.connect("10.210.0.3", 22)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(web.records).toMatchObject([
      { allowed: false, rule: "deny egress domain:db.group.internal tcp:22" },
    ]);
    expect([db.callers, db.records]).toEqual([[], []]);
    expect(await web.exchange("10.210.0.3", 23, "hi")).toBe("hi");
  });

  test("the callee's rules deny it, and both ends know, the callee once", async () => {
    const rule = "deny ingress group tcp:22";
    const { web, db } = await groupPair({ db: [rule] });
    for (let attempt = 0; attempt < 3; attempt++)
      await expect(web.connect("10.210.0.3", 22)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(db.callers).toEqual([]);
    expect(web.records).toHaveLength(3);
    expect(web.records[0]).toMatchObject({
      allowed: false,
      rule,
      reason: expect.stringContaining("db does not let it in"),
    });
    expect(db.records).toMatchObject([{ direction: "ingress", allowed: false, rule, name: "web" }]);
  });

  test.each(["web", "db"] as const)("other rules of %s close what is open", async (whose) => {
    const guests = await groupPair();
    const { web, db } = guests;
    const connection = await web.connect("10.210.0.3", 5432);
    const broken = once(connection, "error");
    connection.write("held");
    await once(connection, "data");
    guests[whose].update([whose === "web" ? "deny egress group" : "deny ingress any"]);
    expect(await broken).toMatchObject([{ code: "ECONNRESET" }]);
    const denier = guests[whose].records[0];
    expect(denier).toMatchObject({ allowed: false, bytesOut: 4, bytesIn: 4 });
    expect([web.records.length, db.records.length]).toEqual([1, 1]);
    expect(web.stack.statistics.connections + db.stack.statistics.connections).toBe(0);
  });

  test("a fellow that goes resets its connections, and is not there any more", async () => {
    const { web, db } = await groupPair();
    const connection = await web.connect("fd6d:7363::3", 5432);
    const broken = once(connection, "error");
    await db.stack[Symbol.asyncDispose]();
    expect(await broken).toMatchObject([{ code: "ECONNRESET" }]);
    web.syn("fd6d:7363::3", 5432);
    await expect.poll(() => web.icmps()).toEqual(["fd6d:7362::1 1/3"]);
    expect(web.records.at(-1)).toMatchObject({ allowed: false, address: "fd6d:7363::3" });
  });

  test("fellows take at most half of what one may have", async () => {
    const groups = new Groups();
    const web = await GroupGuest.open(groups, { name: "web", number: 2 });
    const network = { group: "g", limits: { connections: 4 } };
    const db = await GroupGuest.open(groups, { name: "db", number: 3, network });
    for (let taken = 0; taken < 2; taken++) await web.connect("10.210.0.3", 80);
    await expect(web.connect("10.210.0.3", 80)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(db.records).toMatchObject([{ allowed: false, rule: "limit" }]);
    expect(await db.exchange("10.210.0.2", 80, "still")).toBe("still");
  });

  test("waits for a reader that is slow, and loses nothing", async () => {
    const { web } = await groupPair();
    const connection = await web.connect("10.210.0.3", 5432);
    const sent = randomBytes(8 * 1024 * 1024);
    connection.end(sent);
    // The echo waits with what it is sent until somebody reads what it says.
    await expect.poll(() => connection.writableLength).toBeGreaterThan(0);
    expect(sent.equals(await buffer(connection))).toBe(true);
  });
});

test("a limit on bytes holds a connection back, until it is lifted", async () => {
  const groups = new Groups();
  const web = await GroupGuest.open(groups, { name: "web", number: 2 });
  const network = { group: "g", limits: { ingressBytesPerSecond: 1024 } };
  const db = await GroupGuest.open(groups, { name: "db", number: 3, network });
  const connection = await web.connect("10.210.0.3", 80);
  let received = 0;
  connection.on("data", ({ length }) => {
    received += length;
  });
  // What is more than may pass at once passes, and what follows waits for it.
  connection.write(Buffer.alloc(10_000));
  await expect.poll(() => received).toBe(10_000);
  connection.write(Buffer.alloc(10));
  for (const guest of [web, db, web, db]) await guest.settled();
  expect(received).toBe(10_000);
  db.update([]);
  await expect.poll(() => received).toBe(10_010);
});

describe("UDP", () => {
  test.each([4, 6] as const)("goes there and back, IPv%d", async (version) => {
    const { web, db } = await groupPair();
    const [from, to] = [web.addresses[version], db.addresses[version]];
    web.udp(to, 5300, "a question");
    await expect.poll(() => db.datagrams()).toEqual([`${from}:4000 5300 a question`]);
    db.udp(from, 4000, "an answer", { sourcePort: 5300 });
    await expect.poll(() => web.datagrams()).toEqual([`${to}:5300 4000 an answer`]);
    // Port 53 of a fellow is its own, and not the gateway's.
    web.udp(to, 53, "no question about a name");
    await expect.poll(() => db.datagrams()).toContain(`${from}:4000 53 no question about a name`);
  });

  test("from either of its addresses, from one port too", async () => {
    const { web, db } = await groupPair();
    for (const from of ["10.209.0.2", "10.210.0.2"]) web.udp("10.210.0.3", 5300, `from ${from}`, { from });
    await expect.poll(() => db.datagrams()).toHaveLength(2);
    const [first, second] = db.packets.map((packet) => parseUdp(packet)!.sourcePort);
    expect(first).toBe(4000);
    expect(second).not.toBe(4000);
    for (const port of [first!, second!]) db.udp("10.210.0.2", port, "back", { sourcePort: 5300 });
    await expect
      .poll(() => web.packets.map(({ destination }) => destination.text))
      .toEqual(["10.209.0.2", "10.210.0.2"]);
    expect(web.datagrams()).toEqual(Array(2).fill("10.210.0.3:5300 4000 back"));
  });

  test("a port at which nobody listens is told", async () => {
    const { web, db } = await groupPair();
    web.udp("10.210.0.3", 9, "x");
    await expect.poll(() => db.packets.length).toBe(1);
    const { header, payload } = db.packets[0]!;
    const quoted = new Uint8Array([0, 0, 0, 0, ...header, ...payload]);
    db.icmp("10.210.0.2", { type: 3, code: 3, rest: quoted });
    await expect.poll(() => web.icmps()).toEqual(["10.210.0.3 3/3"]);
  });

  test.each([
    ["nobody's address", "10.210.0.77", [], "10.209.0.1 3/13"],
    ["what the callee denies", "10.210.0.3", ["deny ingress any udp"], "10.209.0.1 3/13"],
  ] as const)("%s is told at once", async (_, to, rules, error) => {
    const { web, db } = await groupPair({ db: [...rules] });
    web.udp(to, 5300, "x");
    await expect.poll(() => web.icmps()).toEqual([error]);
    expect(db.packets).toEqual([]);
    expect(web.records).toMatchObject([{ protocol: "udp", allowed: false, address: to }]);
  });

  test("limits on bytes hold", async () => {
    const groups = new Groups();
    const web = await GroupGuest.open(groups, { name: "web", number: 2 });
    const network = { group: "g", limits: { ingressBytesPerSecond: 1024 } };
    const db = await GroupGuest.open(groups, { name: "db", number: 3, network });
    for (let i = 0; i < 5; i++) web.udp("10.210.0.3", 5300, "x".repeat(10_000));
    await web.settled();
    await db.settled();
    expect(db.datagrams()).toHaveLength(1);
  });

  test("exchanges with fellows do not push out its own", async () => {
    const groups = new Groups();
    const web = await GroupGuest.open(groups, { name: "web", number: 2 });
    const db = await GroupGuest.open(groups, { name: "db", number: 3 });
    for (let port = 1; port <= 300; port++) web.udp("10.210.0.3", port, "x");
    await expect.poll(() => web.records.length).toBe(300 - 256);
    expect(web.records[0]).toMatchObject({ allowed: false, rule: "limit" });
    expect(db.stack.statistics.connections).toBe(256);
  });

  test("other rules close what is open", async () => {
    const { web, db } = await groupPair();
    web.udp("10.210.0.3", 5300, "x");
    await expect.poll(() => db.datagrams()).toHaveLength(1);
    db.update(["deny ingress group"]);
    await expect.poll(() => web.icmps()).toEqual(["10.209.0.1 3/13"]);
    expect(db.records).toMatchObject([{ direction: "ingress", protocol: "udp", allowed: false, bytesIn: 1 }]);
  });
});

describe("echo", () => {
  const ping = { type: 8, code: 0, rest: new Uint8Array(4) };

  test.each([
    ["10.210.0.3", [], "10.210.0.3 0/0"],
    ["10.210.0.3", ["deny ingress group icmp"], "10.209.0.1 3/13"],
    ["10.210.0.4", [], "10.209.0.1 3/1"],
    ["8.8.8.8", [], "10.209.0.1 3/13"],
  ] as const)("of %s with %j", async (to, rules, answer) => {
    const { web } = await groupPair({ db: [...rules] });
    web.icmp(to, ping);
    await expect.poll(() => web.icmps()).toEqual([answer]);
  });
});

test("what would be decided is told by the rules of both ends", async () => {
  const { web, db } = await groupPair({ db: ["allow ingress group tcp:5432", "deny ingress group"] });
  const ask = (guest: GroupGuest, host: string, port: number, direction: "egress" | "ingress" = "egress") =>
    guest.stack.test(networkQuestion.parse({ host, port, direction }));
  expect(await ask(web, "db", 5432)).toMatchObject({
    addresses: [
      { address: "10.210.0.3", place: "a sandbox of the same group", allowed: true, rule: "scope group" },
      { address: "fd6d:7363::3", allowed: true },
    ],
  });
  const denied = {
    allowed: false,
    rule: "deny ingress group",
    reason: expect.stringContaining("db does not let it in"),
  };
  expect((await ask(web, "10.210.0.3", 22)).addresses).toMatchObject([
    { ...denied, steps: [{ rule: "db: allow ingress group tcp:5432", matched: false }, { matched: true }] },
  ]);
  expect((await ask(db, "web", 22, "ingress")).addresses[0]).toMatchObject(denied);
  expect((await ask(web, "10.210.0.77", 22)).addresses[0]).toMatchObject({ allowed: false, rule: "address" });
});

test("two of one name or one number are refused", async () => {
  const { open } = await groupPair();
  await expect(open("db", 7)).rejects.toMatchObject({ code: "internal" });
  await expect(open("new", 3)).rejects.toMatchObject({ code: "internal" });
});
