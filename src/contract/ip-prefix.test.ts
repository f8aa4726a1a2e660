import fc from "fast-check";
import { expect, test } from "vitest";
import { IpAddress } from "./ip-address.ts";
import { IpPrefix } from "./ip-prefix.ts";

test("a block holds what shares its first bits", () => {
  const block = IpPrefix.parse("172.16.0.0/12")!;
  const holds = (text: string) => block.contains(IpAddress.parse(text)!);
  expect(["172.16.0.0", "172.31.255.255"].map(holds)).toEqual([true, true]);
  expect(["172.15.255.255", "172.32.0.0", "::ac10:0"].map(holds)).toEqual([false, false, false]);
  expect(IpPrefix.parse("0.0.0.0/0")!.contains(IpAddress.parse("255.1.2.3")!)).toBe(true);
});

test.each([
  "10.0.0.1/8",
  "10.0.0.0/33",
  "10.0.0.0/08",
  "10.0.0.0/",
  "10.0.0.0/8/8",
  "/8",
  "::/129",
  "::1/64",
  "a/8",
  "10.0.0.0/-1",
])("%j is no block", (text) => {
  expect(IpPrefix.parse(text)).toBeUndefined();
});

test("the block around an address holds it and reads back", () => {
  const address = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(address, fc.nat(128), (bytes, bits) => {
      const ip = new IpAddress(bytes);
      const block = IpPrefix.around(ip, Math.min(bits, bytes.length * 8));
      expect(block.contains(ip)).toBe(true);
      expect(IpPrefix.parse(block.text)).toEqual(block);
    }),
  );
});
