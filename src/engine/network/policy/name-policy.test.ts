import { expect, test } from "vitest";
import { ip, policyOf } from "../testing/policy-of.ts";
import { decideName, mayAnswer } from "./name-policy.ts";

test.each<[scope: Parameters<typeof policyOf>[0], rules: string[], allowed: boolean, by: string]>([
  ["public", [], true, "scope public"],
  ["any", [], true, "scope any"],
  ["group", [], false, "scope group"],
  ["public", ["deny egress any"], false, "deny egress any"],
  ["public", ["deny egress public"], false, "deny egress public"],
  ["any", ["deny egress public"], true, "scope any"],
  ["any", ["deny egress public", "deny egress private"], false, "deny egress public"],
  ["public", ["deny egress public udp:443"], true, "scope public"],
  ["group", ["allow egress public tcp:443"], true, "allow egress public tcp:443"],
  ["public", ["deny egress public", "allow egress public tcp:443"], false, "deny egress public"],
  ["group", ["allow egress 93.184.0.0/16"], true, "allow egress 93.184.0.0/16"],
  ["group", ["allow egress domain:x.example"], true, "allow egress domain:x.example"],
  ["group", ["allow egress domain:*.example"], true, "allow egress domain:*.example"],
  ["group", ["allow egress domain:y.example"], false, "scope group"],
  ["public", ["deny egress domain:x.example"], false, "deny egress domain:x.example"],
  ["public", ["deny egress domain:x.example tcp:80"], true, "scope public"],
  ["public", ["allow egress domain:y.example", "deny egress any"], false, "deny egress any"],
  ["group", ["allow egress host", "allow ingress any"], false, "scope group"],
])("scope %s with %j asks for x.example: %s", (scope, rules, allowed, rule) => {
  expect(decideName(policyOf(scope, rules), "x.example")).toMatchObject({ allowed, rule });
});

test("where encrypted DNS is denied, its names and the canary are not there", () => {
  const policy = policyOf("public", ["deny egress encrypted-dns"]);
  expect(decideName(policy, "mozilla.cloudflare-dns.com").allowed).toBe(false);
  expect(decideName(policy, "use-application-dns.net").allowed).toBe(false);
  expect(decideName(policy, "cloudflare.com").allowed).toBe(true);
});

test.each<[scope: Parameters<typeof policyOf>[0], rules: string[], address: string, told: boolean]>([
  ["public", [], "8.8.8.8", true],
  ["public", [], "10.0.0.1", false],
  ["public", ["allow egress domain:x.example"], "10.0.0.1", false],
  ["public", ["allow egress 10.0.0.0/8 tcp:5432"], "10.0.0.1", true],
  ["public", ["allow egress private"], "10.0.0.1", true],
  ["any", [], "10.0.0.1", true],
  ["any", ["deny egress 10.0.0.0/8"], "10.0.0.1", false],
  ["any", [], "127.0.0.1", false],
  ["any", [], "169.254.169.254", false],
  ["any", ["allow egress metadata"], "169.254.169.254", true],
  ["any", [], "192.168.1.5", false],
  ["any", ["allow egress 127.0.0.0/8"], "127.0.0.1", false],
  ["any", [], "10.209.0.1", false],
  ["public", [], "64:ff9b::8.8.8.8", false],
])("scope %s with %j: the answer %s is told: %s", (scope, rules, address, told) => {
  expect(mayAnswer(policyOf(scope, rules), ip(address))).toBe(told);
});
