import { expect, test } from "vitest";
import type { LayerProgress } from "../sdk/index.ts";
import { LayerTable } from "./layer-table.ts";

const MIB = 1024 ** 2;
const digest = (index: number) =>
  `sha256:${String(index)
    .padStart(64, "0")
    .replace(/^0{52}/, "")}${"f".repeat(52)}`;

function layer(index: number, phase: LayerProgress["phase"], mib = 0): LayerProgress {
  return { digest: digest(index), phase, bytes: mib * MIB, totalBytes: 50 * MIB };
}

test("a line for each layer: bytes, total, rate", () => {
  const table = new LayerTable();
  table.update(layer(1, "downloading", 0), 0);
  table.update(layer(1, "downloading", 10), 1000);
  table.update(layer(2, "exists"), 1000);
  table.update(layer(3, "retrying", 7), 1000);
  table.update(layer(4, "waiting"), 1000);
  expect(table.lines(79, 20, 1000)).toEqual([
    "000000000001  downloading   10.0 MiB of 50.0 MiB   10.0 MiB/s",
    "000000000002  exists",
    "000000000003  retrying       7.0 MiB of 50.0 MiB",
    "000000000004  waiting",
  ]);
});

test("the rate is that of late, and a new attempt has its own", () => {
  const table = new LayerTable();
  for (let second = 0; second <= 20; second++)
    table.update(layer(1, "downloading", second * 2), second * 1000);
  table.update(layer(1, "downloading", 49), 21_000);
  expect(table.lines(79, 9, 21_000)[0]).toMatch(/ [4-6]\.\d MiB\/s$/);
  table.update(layer(1, "retrying", 49), 22_000);
  table.update(layer(1, "downloading", 0), 23_000);
  expect(table.lines(79, 9, 23_000)[0]).not.toContain("/s");
});

test.each([
  [79, "000000000001  downloading   10.0 MiB of 50.0 MiB   10.0 MiB/s"],
  [52, "000000000001  downloading   10.0 MiB of 50.0 MiB"],
  [39, "000000000001  downloading   10.0 MiB"],
  [30, "000000000001  downloading"],
  [15, "000000000001"],
])("in %i columns it is %j", (columns, line) => {
  const table = new LayerTable();
  table.update(layer(1, "downloading", 0), 0);
  table.update(layer(1, "downloading", 10), 1000);
  expect(table.lines(columns, 9, 1000)).toEqual([line]);
});

test("what does not fit is counted, and what is under way comes first", () => {
  const table = new LayerTable();
  for (let index = 1; index <= 10; index++) table.update(layer(index, "done", 50), 0);
  for (let index = 11; index <= 14; index++) table.update(layer(index, "downloading", 1), 0);
  for (let index = 15; index <= 20; index++) table.update(layer(index, "waiting"), 0);
  const lines = table.lines(79, 4, 0);
  expect(lines.map((line) => line.slice(0, 12))).toEqual([
    "000000000011",
    "000000000012",
    "000000000013",
    "1 more under",
  ]);
  expect(lines.at(-1)).toBe("1 more under way, 6 waiting, 10 done");
  expect(table.lines(79, 1, 0)).toEqual(["4 more under way, 6 waiting, 10 done"]);
});

test("a digest from outside writes no control characters, and no number of them takes memory without end", () => {
  const table = new LayerTable();
  table.update({ ...layer(1, "done"), digest: "\x1b[2Jevil" }, 0);
  expect(table.lines(79, 9, 0)).toEqual(["\\x1b[2Jevil  done"]);
  for (let index = 0; index < 5000; index++) table.update(layer(index, "done"), 0);
  expect(table.lines(79, 1, 0)).toEqual(["1000 done"]);
});
