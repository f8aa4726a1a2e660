import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "./errors.ts";
import { networkRule, networkSettings, networkSpec } from "./network.ts";
import { parseRule, ruleText } from "./network-rule.ts";

test.each([
  ["allow egress public", "allow egress public"],
  ["  deny\tingress   any  ", "deny ingress any"],
  ["allow egress domain:Example.COM. tcp:443", "allow egress domain:example.com tcp:443"],
  ["allow egress domain:*.bücher.example", "allow egress domain:*.xn--bcher-kva.example"],
  ["allow egress 10.0.0.0/8 tcp:80,443,8000-8999", "allow egress 10.0.0.0/8 tcp:80,tcp:443,tcp:8000-8999"],
  ["allow egress 10.0.0.1/32 icmp,udp", "allow egress 10.0.0.1 icmp,udp"],
  ["allow egress 2001:DB8:0::/32", "allow egress 2001:db8::/32"],
  ["allow egress @mirrors tcp:5-5", "allow egress @mirrors tcp:5"],
  ["deny egress encrypted-dns", "deny egress encrypted-dns"],
  ["allow egress ::/0", "allow egress ::/0"],
])("%j is %j", (text, canonical) => {
  expect(ruleText(parseRule(text))).toBe(canonical);
});

test.each([
  ["", 1, "allow or deny", "for example"],
  ["permit egress any", 1, "'permit'", "for example"],
  ["Allow egress any", 1, "'Allow'", "for example"],
  ["allow out any", 7, "'out'", "for example"],
  ["allow egress", 13, "the rule ends", "a target is"],
  ["allow egress example.com", 14, "no target", "domain:example.com"],
  ["allow egress https://example.com/x", 14, "no target", "domain:example.com"],
  ["allow egress Public", 14, "no target", "write public"],
  ["allow egress 10.0.0.1/8", 14, "no target", "10.0.0.0/8 for the block"],
  ["allow egress 10.0.0.0/33", 14, "no target", "a target is"],
  ["allow egress 010.0.0.1", 14, "no target", ""],
  ["allow egress ::ffff:10.0.0.1", 14, "IPv6 spelling", "10.0.0.1"],
  ["allow egress ::ffff:10.0.0.0/104", 14, "IPv6 spelling", "10.0.0.0/8"],
  ["allow egress domain:*", 14, "no domain", "public"],
  ["allow egress domain:a.*.b", 14, "no domain", "star"],
  ["allow egress domain:*a.b", 14, "no domain", "star"],
  ["allow egress domain:1.2.3.4", 14, "no domain", "without domain:"],
  ["allow egress domain:127.1", 14, "no domain", "domain:example.com"],
  ["allow egress domain:a..b", 14, "no domain", "domain:example.com"],
  ["allow egress domain:a.b:443", 14, "no domain", "without scheme, port"],
  [`allow egress domain:${"a".repeat(64)}.b`, 14, "no domain", ""],
  ["allow egress @Mirrors", 14, "names no set", "lower-case"],
  ["allow ingress domain:a.b", 15, "no name", "address"],
  ["allow egress any 443", 18, "'443'", "tcp:443"],
  ["allow egress any tcp:443 udp:53", 26, "after the end", "tcp:80,tcp:443"],
  ["allow egress any tcp:443,udp:0", 30, "no port", "1 to 65535"],
  ["allow egress any tcp:65536", 22, "no port", "1 to 65535"],
  ["allow egress any tcp:9-8", 22, "backwards", "tcp:8-9"],
  ["allow egress any icmp:8", 23, "no ports", "icmp alone"],
  ["allow egress any tcp:443,", 26, "missing", "tcp:443"],
  ["allow egress any sctp:1", 18, "'sctp:1'", "tcp:443"],
  ["allow\u00a0egress any", 1, "where allow or deny", ""],
  [`allow egress any ${Array(40).fill("tcp:1").join(",")}`, 210, "more than 32", "ranges"],
  ["allow egress any".padEnd(600), 513, "at most 512", "set"],
])("%j is refused at column %i: %s", (text, column, message, hint) => {
  const error = (() => {
    try {
      parseRule(text);
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toBeInstanceOf(SandboxError);
  expect(error).toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(message),
    hint: expect.stringContaining(hint),
    details: { column },
  });
});

const port = fc.integer({ min: 1, max: 65535 });
const ports = fc.oneof(
  fc.constantFrom("icmp", "tcp", "udp"),
  fc.tuple(fc.constantFrom("tcp", "udp"), port).map(([protocol, p]) => `${protocol}:${p}`),
  fc.tuple(port, port).map(([a, b]) => `tcp:${Math.min(a, b)}-${Math.max(a, b)}`),
);
const target = fc.oneof(
  fc.constantFrom("public", "private", "host", "group", "any", "@a-set", "domain:a.b", "domain:*.b"),
  fc.ipV4(),
  // Spelled as mapped, it would be refused.
  fc.ipV6().filter((text) => !/^(?:0*:)*:?ffff:/i.test(text)),
  fc.domain().map((name) => `domain:${name}`),
);

test("what is printed reads back as the same rule", () => {
  const rule = fc.tuple(fc.constantFrom("allow", "deny"), target, fc.array(ports, { maxLength: 32 }));
  fc.assert(
    fc.property(rule, ([action, name, list]) => {
      const parsed = parseRule(`${action} egress ${name} ${list.join(",")}`);
      const printed = ruleText(parsed);
      fc.pre(printed.length <= 512);
      expect(ruleText(parseRule(printed))).toBe(printed);
      expect(parseRule(printed)).toEqual(parsed);
    }),
  );
});

test("whatever is written, it is a rule or an error with a column in it", () => {
  const words = fc.constantFrom(
    "allow",
    "deny",
    "egress",
    "any",
    "domain:",
    "*.",
    "10.0.0.0/8",
    "::",
    "/",
    ":",
    ",",
    "-",
    "tcp",
    " ",
    "\t",
    "443",
    "@",
    ".",
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.oneof(words, fc.string({ maxLength: 3 })), { maxLength: 20 }).map((parts) => parts.join("")),
    fc.string({ unit: "binary" }).map((tail) => `allow egress ${tail}`),
  );
  fc.assert(
    fc.property(text, (line) => {
      try {
        parseRule(ruleText(parseRule(line)));
      } catch (error) {
        const column = (error as SandboxError).details?.column as number;
        expect(error).toBeInstanceOf(SandboxError);
        expect(column).toBeGreaterThan(0);
        expect(column).toBeLessThanOrEqual(Math.max(513, line.length + 1));
      }
    }),
    { numRuns: 2000 },
  );
});

test("the contract takes a rule as text or as an object, and says what is wrong with it", () => {
  expect(networkRule.parse("allow egress any")).toBe("allow egress any");
  expect(networkRule.safeParse({ action: "allow", target: "public", ports: ["tcp:443"] }).success).toBe(true);
  const refused = networkRule.safeParse({ action: "allow", target: "example.com" });
  expect(refused.error?.issues[0]?.message).toContain("domain:example.com");
  expect(networkRule.safeParse({ action: "allow", target: "any tcp:1" }).success).toBe(false);
});

test("a network has defaults; its settings hold sets that hold no sets", () => {
  expect(networkSpec.parse({ group: "shop" })).toMatchObject({ scope: "group", group: "shop" });
  expect(networkSpec.parse({ group: "shop", scope: "any" })).toMatchObject({ scope: "any" });
  expect(networkSpec.safeParse({ group: "Shop" }).success).toBe(false);
  expect(networkSpec.parse({})).toEqual({
    scope: "public",
    rules: [],
    ports: [],
    limits: { connections: 1024, queriesPerSecond: 200 },
  });
  expect(networkSettings.safeParse({ sets: { a: ["10.0.0.0/8", "domain:b.example"] } }).success).toBe(true);
  expect(networkSettings.safeParse({ sets: { a: ["@b"] } }).success).toBe(false);
  expect(networkSettings.safeParse({ sets: { a: ["nonsense"] } }).success).toBe(false);
});
