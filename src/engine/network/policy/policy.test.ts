import { expect, test } from "vitest";
import { SandboxError } from "../../../contract/errors.ts";
import { egress, ip, policyOf } from "../testing/policy-of.ts";

const allowed = (
  scope: Parameters<typeof policyOf>[0],
  rules: string[],
  ...question: Parameters<typeof egress>
) => policyOf(scope, rules).decide(egress(...question)).allowed;

test("the first rule that matches decides", () => {
  const rules = ["deny egress 8.8.8.0/24 tcp:443", "allow egress 8.8.8.8", "deny egress any"];
  expect(allowed("public", rules, "8.8.8.8")).toBe(false);
  expect(allowed("public", rules, "8.8.8.8", { port: 80 })).toBe(true);
  expect(allowed("public", rules, "9.9.9.9")).toBe(false);
});

test("a scope opens its addresses and no more", () => {
  const group = { group: true };
  expect(allowed("none", ["allow egress any"], "8.8.8.8")).toBe(false);
  expect(allowed("group", [], "8.8.8.8")).toBe(false);
  expect(allowed("group", [], "10.210.0.3", group)).toBe(true);
  expect(allowed("public", [], "10.210.0.3", group)).toBe(true);
  expect(allowed("public", [], "10.210.0.3")).toBe(false);
  expect(allowed("any", [], "10.210.0.3")).toBe(true);
});

test("the host is reached where a rule names it, and by no block that holds it", () => {
  const host = { host: true, port: 5432 };
  expect(allowed("any", ["allow egress any"], "10.209.0.254", host)).toBe(false);
  expect(allowed("public", ["allow egress host tcp:5432"], "10.209.0.254", host)).toBe(true);
  expect(allowed("public", ["allow egress host tcp:5432"], "10.209.0.254", { host: true, port: 22 })).toBe(
    false,
  );
  expect(allowed("any", ["allow egress 192.168.1.0/24"], "192.168.1.5")).toBe(false);
  expect(allowed("any", ["allow egress 192.168.1.0/24"], "192.168.1.6")).toBe(true);
  expect(allowed("any", ["allow egress 192.168.1.5"], "192.168.1.5")).toBe(true);
  expect(allowed("any", ["allow egress host"], "192.168.1.5")).toBe(true);
});

test.each(["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"])(
  "metadata at %s is opened by its name alone",
  (address) => {
    const block = address.includes(":") ? "fd00:ec2::/32" : address.replace(/\.\d+$/, ".0/24");
    expect(
      allowed("any", ["allow egress any", `allow egress ${block}`, "allow egress private"], address),
    ).toBe(false);
    expect(allowed("public", [`allow egress ${address} tcp:443`], address)).toBe(true);
    expect(allowed("public", ["allow egress metadata"], address)).toBe(true);
  },
);

test.each<[inner: string, scope: "public" | "any", allowed: boolean]>([
  ["8.8.8.8", "public", true],
  ["10.0.0.1", "public", false],
  ["10.0.0.1", "any", true],
  ["100.64.0.1", "public", false],
  ["203.0.113.1", "any", false],
  ["127.0.0.1", "any", false],
  ["169.254.169.254", "any", false],
  ["168.63.129.16", "any", false],
  ["192.168.1.5", "any", false],
])("%s behind the NAT64 of the host's network is what it is without, in %s: %s", (inner, scope, told) => {
  expect(allowed(scope, [], `2a01:4f8:64::${inner}`)).toBe(told);
  expect(allowed(scope, ["allow egress ::/0"], `2a01:4f8:64::${inner}`)).toBe(
    told || inner === "10.0.0.1" || inner === "100.64.0.1" || inner === "203.0.113.1",
  );
  expect(allowed(scope, [`deny egress ${inner}`], `2a01:4f8:64::${inner}`)).toBe(false);
});

test("a block opens translated forms, but not of what is the host's or a cloud's", () => {
  const rules = ["allow egress 64:ff9b::/96", "allow egress 64:ff9b:1::/48"];
  expect(allowed("public", rules, "64:ff9b::10.0.0.1")).toBe(true);
  expect(allowed("public", rules, "64:ff9b:1::10.0.0.1")).toBe(true);
  expect(allowed("public", rules, "64:ff9b::169.254.169.254")).toBe(false);
  expect(allowed("public", rules, "64:ff9b::192.168.1.5")).toBe(false);
});

test.each([
  ["2001:0:808:808:8000:63bf:5601:5601", "Teredo of a client at 169.254.169.254, whose bits are flipped"],
  ["2001:0:a9fe:a9fe::f7f7:f7f7", "Teredo by a server at 169.254.169.254"],
  ["2002:a9fe:a9fe::1", "6to4 of 169.254.169.254"],
  ["2a00:1234::5efe:169.254.169.254", "ISATAP of it"],
  ["64:ff9b:1:a9fe:a9:fe00::", "NAT64 of it, with a prefix of 48 bits"],
  ["64:ff9b:1:a9:fe:a9fe::", "NAT64 of it, with one of 56 bits"],
  ["64:ff9b:1::a9:fea9:fe00:0", "NAT64 of it, with one of 64 bits"],
  ["2a01:4f8:64::169.254.169.254", "the host network's own NAT64 of it"],
])("no block opens %s: %s", (address) => {
  expect(allowed("any", ["allow egress ::/0"], address)).toBe(false);
  expect(policyOf("any").explain(egress(address)).place).toMatchObject({ kind: "metadata" });
});

test("a rule that denies a block denies its translated forms", () => {
  const rules = ["deny egress 10.0.0.0/8", "allow egress ::/0"];
  expect(policyOf("any", rules).decide(egress("64:ff9b::10.1.2.3"))).toMatchObject({
    allowed: false,
    rule: rules[0],
  });
});

test("a rule for a name opens what the sandbox was given for it, while it is public", () => {
  const rules = ["allow egress domain:*.example.com tcp:443"];
  const names = ["a.example.com"];
  expect(policyOf("group", rules).decide(egress("8.8.8.8", { names }))).toMatchObject({
    allowed: true,
    inspect: "required",
  });
  expect(allowed("group", rules, "8.8.8.8")).toBe(false);
  expect(allowed("group", rules, "8.8.8.8", { names: ["example.com"] })).toBe(false);
  expect(allowed("group", rules, "8.8.8.8", { names: ["a.example.com.evil.example"] })).toBe(false);
  expect(allowed("group", rules, "8.8.8.8", { names: ["evilexample.com"] })).toBe(false);
  expect(allowed("group", rules, "8.8.8.8", { names, port: 80 })).toBe(false);
  expect(allowed("group", rules, "10.0.0.1", { names })).toBe(false);
});

test("QUIC hides names: a rule for a name opens udp:443 only where it says so", () => {
  const names = ["a.example"];
  const quic = { names, protocol: "udp" as const };
  expect(allowed("group", ["allow egress domain:a.example"], "8.8.8.8", quic)).toBe(false);
  expect(allowed("group", ["allow egress domain:a.example udp"], "8.8.8.8", quic)).toBe(false);
  expect(allowed("group", ["allow egress domain:a.example udp:443"], "8.8.8.8", quic)).toBe(true);
  expect(allowed("group", ["allow egress domain:a.example"], "8.8.8.8", { ...quic, port: 123 })).toBe(true);
});

test("a denied name is looked for in connections that rules after it let through", () => {
  const policy = policyOf("public", ["deny egress domain:evil.example"]);
  expect(policy.decide(egress("8.8.8.8"))).toMatchObject({ allowed: true, inspect: "advisory" });
  expect(policy.decide(egress("8.8.8.8", { names: ["evil.example"] }))).toMatchObject({ allowed: false });
});

test("encrypted DNS is denied by port, by name and by address", () => {
  const rules = ["deny egress encrypted-dns"];
  expect(allowed("public", rules, "93.184.216.34", { port: 853 })).toBe(false);
  expect(allowed("public", rules, "93.184.216.34", { port: 853, protocol: "udp" })).toBe(false);
  expect(allowed("public", rules, "1.1.1.1")).toBe(false);
  expect(allowed("public", rules, "1.1.1.1", { port: 80 })).toBe(true);
  expect(allowed("public", rules, "93.184.216.34", { names: ["abc.dns.nextdns.io"] })).toBe(false);
  expect(allowed("public", rules, "93.184.216.34")).toBe(true);
});

test("a set stands for each of its targets; one that there is not is an error", () => {
  const policy = policyOf("group", ["allow egress @mirrors tcp:443"], {
    mirrors: ["9.9.9.9", "domain:deb.example"],
  });
  expect(policy.decide(egress("9.9.9.9"))).toEqual({
    allowed: true,
    rule: "allow egress @mirrors tcp:443",
    reason: expect.any(String),
  });
  expect(policy.decide(egress("8.8.8.8", { names: ["deb.example"] }))).toMatchObject({ inspect: "required" });
  expect(policy.decide(egress("8.8.8.8"))).toMatchObject({ allowed: false });
  expect(() => policyOf("group", ["allow egress @mirror"], { mirrors: [] })).toThrow(SandboxError);
});

test("ingress: what is published is open unless a rule denies who comes", () => {
  const from = (address: string, over = {}) => egress(address, { direction: "ingress", port: 80, ...over });
  expect(policyOf("public").decide(from("127.0.0.1")).allowed).toBe(true);
  expect(policyOf("none").decide(from("127.0.0.1")).allowed).toBe(false);
  const policy = policyOf("public", [
    "allow ingress host",
    "allow ingress 192.168.7.0/24",
    "deny ingress any",
  ]);
  expect(policy.decide(from("127.0.0.1")).allowed).toBe(true);
  expect(policy.decide(from("192.168.7.9")).allowed).toBe(true);
  expect(policy.decide(from("192.168.8.9")).allowed).toBe(false);
  expect(policy.decide(from("10.210.0.2", { group: true })).allowed).toBe(false);
  expect(policyOf("public", ["deny egress any"]).decide(from("127.0.0.1")).allowed).toBe(true);
});

test("explain tells each rule that was looked at, and what decided", () => {
  const policy = policyOf("public", [
    "allow ingress host",
    "allow egress domain:a.example",
    "deny egress private tcp:80",
    "deny egress public",
  ]);
  const { verdict, steps, place } = policy.explain({ ...egress("8.8.8.8"), address: ip("8.8.8.8") });
  expect(place).toMatchObject({ kind: "public", name: "global unicast, RFC 791" });
  expect(steps).toEqual([
    { rule: "allow ingress host", matched: false, why: "is for ingress" },
    {
      rule: "allow egress domain:a.example",
      matched: false,
      why: "is for a name, and the sandbox was not given this address for any",
    },
    { rule: "deny egress private tcp:80", matched: false, why: "is not for tcp:443" },
    { rule: "deny egress public", matched: true, why: "is for 8.8.8.8 (global unicast, RFC 791)" },
  ]);
  expect(verdict).toEqual({
    allowed: false,
    rule: "deny egress public",
    reason: "8.8.8.8 (global unicast, RFC 791) is denied by the rule 'deny egress public'",
  });
});
