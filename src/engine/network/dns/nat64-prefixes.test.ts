import { expect, test } from "vitest";
import { queryOf, record, zone } from "../testing/dns-messages.ts";
import { answerTo } from "./message.ts";
import { Nat64Prefixes } from "./nat64-prefixes.ts";
import { RCODE } from "./record-types.ts";
import type { Resolver } from "./resolver.ts";

const GLOBAL = new Set(["192.168.1.5", "2a00:1450::5"]);

/** Asks until it knows. */
async function settled(prefixes: Nat64Prefixes): Promise<string[]> {
  await prefixes.unknown();
  return prefixes.prefixes().map(({ text }) => text);
}

test.each([
  ["2a01:4f8:64::192.0.0.170", ["2a01:4f8:64::/96"]],
  ["64:ff9b::192.0.0.171", ["64:ff9b::/96"]],
  // RFC 6052, 2.4, with the name's addresses.
  ["2001:db8:c000:aa::", ["2001:db8::/32"]],
  ["2001:db8:1c0:0:aa::", ["2001:db8:100::/40"]],
  ["2001:db8:122:c000:0:aa00::", ["2001:db8:122::/48"]],
  ["2001:db8:122:3c0:0:aa::", ["2001:db8:122:300::/56"]],
  ["2001:db8:122:344:c0:0:aa00::", ["2001:db8:122:344::/64"]],
  ["2a01:4f8:64::192.0.0.172", []],
  ["2a01:4f8:64::1", []],
])("the answer %s shows %j", async (address, shown) => {
  const resolver = zone(`ipv4only.arpa 60 AAAA ${address}`);
  const prefixes = new Nat64Prefixes({ resolver, addresses: () => GLOBAL });
  expect(await settled(prefixes)).toEqual(shown);
  expect(resolver.asked).toEqual(["ipv4only.arpa"]);
});

test("other records, and more than are believed, do no harm", async () => {
  const lines = Array.from({ length: 40 }, (_, i) => `ipv4only.arpa 60 AAAA 2a01:4f8:${i + 1}::192.0.0.170`);
  const resolver = zone("ipv4only.arpa 60 A 192.0.0.170", "ipv4only.arpa 60 TXT 00", ...lines, ...lines);
  const prefixes = new Nat64Prefixes({ resolver, addresses: () => GLOBAL });
  expect(new Set(await settled(prefixes)).size).toBe(16);
  expect(prefixes.prefixes()).toHaveLength(16);
});

test.each([[["192.168.1.5"]], [["::1", "fe80::1"]], [[]]])(
  "a host with %j asks nobody",
  async (addresses) => {
    const resolver = zone("ipv4only.arpa 60 AAAA 2a01:4f8:64::192.0.0.170");
    const prefixes = new Nat64Prefixes({ resolver, addresses: () => new Set(addresses) });
    expect(await settled(prefixes)).toEqual([]);
    expect(resolver.asked).toEqual([]);
  },
);

/** A resolver that answers when it is told to. */
function slow(): Resolver & { answer(address?: string): Promise<void>; asked: number } {
  let pending = Promise.withResolvers<string | undefined>();
  return {
    asked: 0,
    async resolve(question) {
      this.asked += 1;
      const address = await pending.promise;
      if (address === undefined) throw new Error("nobody answers");
      const answers = [record(`ipv4only.arpa 60 AAAA ${address}`)];
      return { ...answerTo(queryOf("", question.type, { question }), RCODE.NOERROR), answers };
    },
    async answer(address) {
      pending.resolve(address);
      pending = Promise.withResolvers();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

test("it is asked again after ten minutes, and sooner where nobody answered; what is known stays meanwhile", async () => {
  let now = 0;
  const resolver = slow();
  const prefixes = new Nat64Prefixes({ resolver, addresses: () => GLOBAL, now: () => now });
  const texts = () => prefixes.prefixes().map(({ text }) => text);
  const unknown = prefixes.unknown();
  expect(unknown).toBeDefined();
  await resolver.answer(undefined);
  await unknown;
  expect(prefixes.unknown()).toBeUndefined();
  expect(resolver.asked).toBe(1);
  now += 30_000;
  expect(texts()).toEqual([]);
  expect(prefixes.unknown()).toBeUndefined();
  await resolver.answer("2a01:4f8:64::192.0.0.170");
  expect(texts()).toEqual(["2a01:4f8:64::/96"]);
  now += 599_999;
  expect([texts().length, resolver.asked]).toEqual([1, 2]);
  now += 1;
  expect([texts().length, resolver.asked]).toEqual([1, 3]);
  await resolver.answer(undefined);
  expect(texts()).toEqual(["2a01:4f8:64::/96"]);
});

test("another network is asked about at once, and none means no prefixes", async () => {
  let addresses = GLOBAL;
  const resolver = slow();
  const prefixes = new Nat64Prefixes({ resolver, addresses: () => addresses });
  const before = prefixes.unknown();
  addresses = new Set(["2a02::1"]);
  expect(prefixes.unknown()).not.toBe(before);
  expect(resolver.asked).toBe(2);
  await resolver.answer("2a01:4f8:64::192.0.0.170");
  expect(prefixes.prefixes()).toHaveLength(1);
  addresses = new Set();
  expect([prefixes.unknown(), prefixes.prefixes()]).toEqual([undefined, []]);
});
