import fc from "fast-check";
import { expect, test } from "vitest";
import { IpAddress } from "./ip-address.ts";

test.each([
  ["10.0.2.15", "10.0.2.15"],
  ["::", "::"],
  ["::1", "::1"],
  ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["fe80::", "fe80::"],
  ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
  ["::ffff:192.0.2.1", "::ffff:c000:201"],
  ["64:ff9b::10.0.0.1", "64:ff9b::a00:1"],
])("%s is spelled %s", (text, canonical) => {
  expect(IpAddress.parse(text)?.text).toBe(canonical);
});

test.each([
  "",
  "1",
  "010.0.0.1",
  "10.0.0.256",
  "0x7f.1",
  "fe80::1%eth0",
  "1::2::3",
  "::g",
  " ::1",
  "x".repeat(99),
])("%j is no address", (text) => {
  expect(IpAddress.parse(text)).toBeUndefined();
});

test("what is spelled reads back as the same bytes", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    // Runs of zeros, which have a spelling of their own.
    fc.uint8Array({ minLength: 16, maxLength: 16, max: 1 }),
  );
  fc.assert(
    fc.property(bytes, (address) => {
      expect(IpAddress.parse(new IpAddress(address).text)?.bytes).toEqual(address);
    }),
  );
});

test("addresses are equal by family and bytes", () => {
  const a = IpAddress.parse("::1")!;
  expect(a.equals(IpAddress.parse("0:0::1")!)).toBe(true);
  expect(a.equals(IpAddress.parse("::2")!)).toBe(false);
  expect(() => new IpAddress(new Uint8Array(5))).toThrow("5 bytes");
});
