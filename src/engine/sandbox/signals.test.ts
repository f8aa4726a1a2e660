import { expect, test } from "vitest";
import { signalName, signalNumber } from "./signals.ts";

test("signals are known by name, with and without SIG, and by number", () => {
  expect(["SIGTERM", "term", "15"].map(signalNumber)).toEqual([15, 15, 15]);
  expect(signalNumber("64")).toBe(64);
  expect(signalName(9)).toBe("SIGKILL");
  expect(signalName(40)).toBe("SIG40");
});

test.each(["0", "65", "SIGNOTHING", "", "-9", "9x"])("'%s' is no signal", (name) => {
  expect(() => signalNumber(name)).toThrowError(expect.objectContaining({ code: "invalid_argument" }));
});
