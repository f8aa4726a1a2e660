import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseMac } from "../packet/ethernet.ts";
import { GroupGuest, groupPair } from "../testing/group-guest.ts";
import { ethernetFrame, ip, ipPacket, spoilt } from "../testing/packets.ts";

/** Guests, in the group and out of it, that say they are who they are not. */

describe("whoever is not in the group", () => {
  async function strangers() {
    const { groups, web, db, open } = await groupPair();
    const far = await open("far", 9, ["allow egress any"], "other");
    const network = { scope: "any" as const, rules: ["allow egress 10.210.0.0/16"] };
    const lone = await GroupGuest.open(groups, { name: "lone", number: 9, network });
    return { web, db, far, lone };
  }

  test("finds nobody at its addresses", async () => {
    const { db, far } = await strangers();
    far.udp("10.210.0.3", 5300, "x");
    far.udp("fd6d:7363::3", 5300, "x");
    await expect.poll(() => far.icmps()).toEqual(["10.209.0.1 3/13", "fd6d:7362::1 1/1"]);
    expect([db.packets, db.callers, db.records]).toEqual([[], [], []]);
  });

  test.each(["10.210.0.2", "10.210.0.3", "10.210.0.9", "fd6d:7363::2"])(
    "speaks in nobody's name, as %s",
    async (from) => {
      const { web, db, far, lone } = await strangers();
      const to = ip(from).version === 4 ? "10.210.0.3" : "fd6d:7363::3";
      for (const stranger of from === "10.210.0.9" ? [lone] : [far, lone]) {
        stranger.syn(to, 5432, from);
        stranger.udp(to, 5300, "x", { from });
        await expect.poll(() => stranger.stack.statistics.dropped).toEqual({ "source-address": 2 });
        expect(stranger.records).toEqual([]);
      }
      for (const guest of [web, db]) expect([guest.packets, guest.callers]).toEqual([[], []]);
    },
  );
});

describe("a member that lies", () => {
  const mac = parseMac("02:6d:73:62:00:02");
  const gateway = parseMac("02:6d:73:62:00:01");
  const everybody = parseMac("ff:ff:ff:ff:ff:ff");
  const arp = (sender: string): Uint8Array =>
    Uint8Array.from([
      ...[...everybody, ...mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, ...mac],
      ...[...ip(sender).bytes, ...everybody, ...ip("10.210.0.3").bytes],
    ]);
  const of6 = (type: number, rest: Uint8Array): Parameters<GroupGuest["icmp"]>[1] => ({
    type,
    code: 0,
    rest,
  });

  test.each<[string, string, (web: GroupGuest) => void]>([
    [
      "sends from a fellow's address",
      "source-address",
      (web) => web.udp("10.210.0.3", 1, "x", { from: "10.210.0.4" }),
    ],
    [
      "sends from a fellow's IPv6 address",
      "source-address",
      (web) => web.udp("fd6d:7363::3", 1, "x", { from: "fd6d:7363::4" }),
    ],
    [
      "sends with another MAC",
      "source-mac",
      (web) =>
        web.frame(
          ethernetFrame(
            parseMac("02:6d:73:62:00:03"),
            gateway,
            ipPacket(
              { source: ip("10.210.0.2"), destination: ip("10.210.0.3"), protocol: 17 },
              new Uint8Array(8),
            ),
          ),
        ),
    ],
    ["answers ARP for a fellow", "rogue", (web) => web.frame(arp("10.210.0.3"))],
    ["answers ARP for the gateway", "rogue", (web) => web.frame(arp("10.209.0.1"))],
    ["is a DHCP server", "rogue", (web) => web.udp("10.210.0.3", 68, "an offer", { sourcePort: 67 })],
    ["speaks to all of the group", "multicast", (web) => web.udp("10.210.15.255", 5300, "x")],
    ["advertises itself as a router", "rogue", (web) => sendNdp(web, of6(134, new Uint8Array(12)))],
    [
      "advertises a fellow's address",
      "rogue",
      (web) => sendNdp(web, of6(136, Uint8Array.from([0x20, 0, 0, 0, ...ip("fd6d:7363::3").bytes]))),
    ],
  ])("%s: dropped", async (_, reason, lie) => {
    const { web, db } = await groupPair();
    lie(web);
    await expect.poll(() => web.stack.statistics.dropped).toEqual({ [reason]: 1 });
    expect([db.packets, db.callers, web.packets]).toEqual([[], [], []]);
    // Nothing of it was learnt.
    expect(await web.exchange("10.210.0.3", 5432, "hi")).toBe("hi");
    expect(await db.exchange("10.210.0.2", 5432, "hi")).toBe("hi");
  });

  function sendNdp(web: GroupGuest, message: Parameters<GroupGuest["icmp"]>[1]): void {
    web.icmp("ff02::1", message, undefined, 255);
  }
});

test("whatever one sends, others hear it from its own address or not at all", async () => {
  const { web, db, open } = await groupPair();
  const far = await open("far", 4, [], "other");
  const own = { 4: "10.210.0.2", 6: "fd6d:7363::2" };
  const known = {
    4: [
      "10.210.0.2",
      "10.210.0.3",
      "10.210.0.4",
      "10.209.0.1",
      "10.209.0.2",
      "10.210.15.255",
      "224.0.0.1",
      "0.0.0.0",
    ],
    6: [
      "fd6d:7363::2",
      "fd6d:7363::3",
      "fd6d:7363::4",
      "fd6d:7362::1",
      "fd6d:7362::2",
      "ff02::1",
      "fe80::1",
      "::",
    ],
  };
  const address = (version: 4 | 6) => fc.constantFrom(...known[version]).map(ip);
  const packet = fc.constantFrom(4 as const, 6 as const).chain((version) =>
    fc.record({
      source: address(version),
      destination: address(version),
      protocol: fc.constantFrom(6, 17, 1, 58, 132),
      payload: fc.uint8Array({ minLength: 8, maxLength: 64 }),
    }),
  );
  const mac = fc.constantFrom("02:6d:73:62:00:02", "02:6d:73:62:00:01", "ff:ff:ff:ff:ff:ff").map(parseMac);
  const frame = fc.tuple(mac, mac, packet).map(([from, to, { payload, ...fields }]) => {
    return ethernetFrame(from, to, ipPacket(fields, payload));
  });
  const datagram = fc
    .tuple(
      fc.constantFrom(...known[4], ...known[6]),
      fc.constantFrom(...known[4], ...known[6]),
      fc.nat(65_535),
    )
    .filter(([from, to]) => ip(from).version === ip(to).version);
  await fc.assert(
    fc.asyncProperty(
      fc.array(spoilt(frame), { maxLength: 20 }),
      fc.array(datagram, { maxLength: 20 }),
      async (frames, datagrams) => {
        for (const bytes of frames) web.frame(bytes);
        for (const [from, to, port] of datagrams) web.udp(to, port, "x", { from });
        for (const guest of [web, db, far]) await guest.settled();
        for (const { source } of db.packets) expect(Object.values(own)).toContain(source.text);
        expect([far.packets, far.callers, far.records]).toEqual([[], [], []]);
      },
    ),
    { numRuns: 60 },
  );
  // Some of it did arrive, or nothing would have been tried.
  expect(db.packets.length).toBeGreaterThan(0);
});
