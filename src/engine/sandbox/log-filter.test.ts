import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LogRecord } from "../../contract/index.ts";
import { LogFilter, type LogQuery } from "./log-filter.ts";

const at = (second: number) => `2026-01-01T00:00:${String(second).padStart(2, "0")}.000Z`;

function record(text: string, more: Partial<LogRecord> = {}): LogRecord {
  return { time: at(0), process: 1, stream: "stdout", offset: 0, text, ...more };
}

function grep(text: string, records: LogRecord[]): LogRecord[] {
  const filter = new LogFilter({ grep: text });
  return [...filter.take(records), ...filter.rest()];
}

describe("a log's filter", () => {
  const records = [
    record("a", { time: at(1) }),
    record("b", { time: at(2), process: 2 }),
    record("c", { time: at(3), stream: "stderr" }),
    record("d", { time: at(4), process: 0, stream: "system" }),
  ];
  test.each<[LogQuery, string]>([
    [{}, "abcd"],
    [{ since: at(2) }, "bcd"],
    [{ until: at(2) }, "ab"],
    [{ since: at(2), until: at(3) }, "bc"],
    [{ since: "2026-01-01T01:00:02+01:00" }, "bcd"],
    [{ processes: [0, 2] }, "bd"],
    [{ streams: ["stderr", "system"] }, "cd"],
    [{ processes: [1], streams: ["stderr"] }, "c"],
    [{ processes: [7] }, ""],
  ])("lets through what %j asks for", (query, expected) => {
    expect(new LogFilter(query).take(records).map(({ text }) => text)).toEqual([...expected]);
  });

  test("finds lines that came in pieces, each with the time and the offset of its beginning", () => {
    const pieces = [
      record("one er", { time: at(1), offset: 10 }),
      record("other stream\n", { stream: "stderr" }),
      record("ror\ntwo\nan err", { time: at(2), offset: 16 }),
      record("or at last", { time: at(3), offset: 30 }),
    ];
    expect(grep("error", pieces)).toEqual([
      record("one error\n", { time: at(1), offset: 10 }),
      record("an error at last", { time: at(2), offset: 24 }),
    ]);
  });

  test("finds characters that were cut, and bytes that are no text", () => {
    const [first, second] = [Buffer.from("x ü\n").subarray(0, 3), Buffer.from("x ü\n").subarray(3)];
    const { text: _text, ...where } = record("");
    const cut = [
      { ...where, base64: first!.toString("base64") },
      { ...where, offset: 3, base64: second!.toString("base64") },
      { ...where, offset: 5, base64: Buffer.from([0, 0xff, 0x78, 10]).toString("base64") },
    ];
    expect(grep("x", cut)).toEqual([record("x ü\n"), { ...where, offset: 5, base64: "AP94Cg==" }]);
  });

  test("does not join what has a gap between", () => {
    expect(grep("er", [record("e"), record("r\n", { offset: 5 })])).toEqual([]);
    expect(grep("e", [record("e"), record("r\n", { offset: 5 })])).toEqual([record("e")]);
  });

  test("cuts a line that does not end, and remembers a bounded number of them", () => {
    const long = grep("x", [record("x".repeat(200_000))]);
    expect(long.map(({ text }) => text!.length)).toEqual([65_536, 65_536, 65_536, 3_392]);
    expect(long.map(({ offset }) => offset)).toEqual([0, 65_536, 131_072, 196_608]);
    const filter = new LogFilter({ grep: "x" });
    const open = Array.from({ length: 1_100 }, (_, process) => record("x", { process }));
    expect(filter.take(open)).toHaveLength(76);
    expect(filter.rest()).toHaveLength(1_024);
  });

  test("takes a pattern's signs as they are", () => {
    expect(grep("(a+)+$", [record("aaaa\n(a+)+$\n")])).toEqual([record("(a+)+$\n", { offset: 5 })]);
  });

  test("gives the same lines however they were cut", () => {
    const lines = fc.array(fc.constantFrom("a", "b", "ab", "", "ä", "aab"), { maxLength: 20 });
    fc.assert(
      fc.property(lines, fc.array(fc.nat(5), { minLength: 1, maxLength: 10 }), (parts, sizes) => {
        const whole = Buffer.from(parts.map((part) => `${part}\n`).join(""));
        const pieces: LogRecord[] = [];
        for (let from = 0, i = 0; from < whole.length; i++) {
          const piece = whole.subarray(from, from + 1 + sizes[i % sizes.length]!);
          const { text: _text, ...where } = record("", { offset: from });
          pieces.push({ ...where, base64: piece.toString("base64") });
          from += piece.length;
        }
        const found = grep("a", pieces).map(({ text }) => text);
        expect(found).toEqual(parts.filter((part) => part.includes("a")).map((part) => `${part}\n`));
      }),
    );
  });
});
