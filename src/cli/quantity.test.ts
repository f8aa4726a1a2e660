import { expect, test } from "vitest";
import {
  formatAge,
  formatBytes,
  parseCount,
  parseMebibytes,
  parseMilliseconds,
  parseMoment,
} from "./quantity.ts";

test.each([
  ["512M", 512],
  ["2G", 2048],
  ["1.5g", 1536],
  ["256MiB", 256],
  ["256mb", 256],
  ["1T", 1048576],
  ["2048K", 2],
])("size %s is %i MiB", (text, mib) => expect(parseMebibytes(text)).toBe(mib));

test.each(["", "512", "M", "-1G", "1,5G", "512 M", "1.0001M", "100K", "0x10M", "1e3M", "512MM"])(
  "size %j is refused",
  (text) => expect(() => parseMebibytes(text)).toThrow(/size/),
);

test("a size without a unit is asked about, not guessed", () => {
  expect(() => parseMebibytes("512")).toThrow("a size needs a unit: 512M or 512G?");
});

test.each([
  ["500ms", 500],
  ["5s", 5000],
  ["1.5s", 1500],
  ["1m30s", 90_000],
  ["2h", 7_200_000],
  ["1d", 86_400_000],
])("duration %s is %i ms", (text, ms) => expect(parseMilliseconds(text)).toBe(ms));

test.each(["", "5", "s", "-5s", "5 s", "5sec", "1m30"])("duration %j is refused", (text) =>
  expect(() => parseMilliseconds(text)).toThrow(/duration/),
);

test("a time is so long ago, or a date", () => {
  const now = Date.parse("2026-01-31T12:00:00Z");
  expect(parseMoment("1h30m", undefined, now)).toBe("2026-01-31T10:30:00.000Z");
  expect(parseMoment("2026-01-31T12:00:00+01:00")).toBe("2026-01-31T11:00:00.000Z");
  expect(parseMoment("2026-01-31")).toBe("2026-01-31T00:00:00.000Z");
  for (const text of ["", "10", "soon", "2026-01-31T99:00", "2026-13-45", "-5m"]) {
    expect(() => parseMoment(text)).toThrow(/time/);
  }
});

test("counts are whole", () => {
  expect(parseCount("4")).toBe(4);
  for (const text of ["", "-1", "1.5", "two", "1e3"]) expect(() => parseCount(text)).toThrow(/whole/);
});

test("bytes and ages read well", () => {
  expect([0, 1023, 1024, 1536, 104857600, 5 * 1024 ** 3].map(formatBytes)).toEqual([
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "100 MiB",
    "5.0 GiB",
  ]);
  const at = (seconds: number) => formatAge(new Date(0).toISOString(), seconds * 1000);
  expect([5, 119, 180, 7200, 200_000].map(at)).toEqual(["5 s", "119 s", "3 min", "2 h", "2 d"]);
});
