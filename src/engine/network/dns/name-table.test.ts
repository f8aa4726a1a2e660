import { expect, test } from "vitest";
import { ip } from "../testing/policy-of.ts";
import { NameTable } from "./name-table.ts";

test("an address is a name's until the TTL is over, and a minute at least", () => {
  let now = 0;
  const table = new NameTable(() => now);
  table.give("a.example", ip("8.8.8.8"), 300);
  table.give("b.example", ip("8.8.8.8"), 0);
  expect(table.namesOf(ip("8.8.8.8"))).toEqual(["a.example", "b.example"]);
  expect(table.namesOf(ip("8.8.8.9"))).toEqual([]);
  now = 60_000;
  expect(table.namesOf(ip("8.8.8.8"))).toEqual(["a.example"]);
  now = 300_000;
  expect(table.namesOf(ip("8.8.8.8"))).toEqual([]);
  expect(table.size).toBe(0);
});

test("a shorter answer does not take back what a longer one gave; a year is a day", () => {
  let now = 0;
  const table = new NameTable(() => now);
  table.give("a.example", ip("8.8.8.8"), 3.2e7);
  table.give("a.example", ip("8.8.8.8"), 0);
  now = 86_399_000;
  expect(table.namesOf(ip("8.8.8.8"))).toEqual(["a.example"]);
  now = 86_400_000;
  expect(table.namesOf(ip("8.8.8.8"))).toEqual([]);
});

test("it is bounded, and the oldest go first", () => {
  const table = new NameTable(() => 0);
  for (let i = 0; i < 100; i++) table.give(`n${i}.example`, ip("8.8.8.8"), 60);
  expect(table.namesOf(ip("8.8.8.8"))).toHaveLength(64);
  expect(table.namesOf(ip("8.8.8.8"))[0]).toBe("n36.example");
  for (let i = 0; i < 9000; i++) table.give("a.example", ip(`9.9.${i >> 8}.${i & 255}`), 60);
  expect(table.size).toBe(8192);
  expect(table.namesOf(ip("8.8.8.8"))).toEqual([]);
  expect(table.namesOf(ip("9.9.35.39"))).toEqual(["a.example"]);
});
