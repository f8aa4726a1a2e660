import { expect, test } from "vitest";
import { goTally, single, vitestTally, withExit } from "./tally.ts";

const event = (Action: string, Test?: string, Package = "p") => JSON.stringify({ Action, Package, Test });

test("go: counts tests and not the packages around them", () => {
  const lines = [
    event("run", "A"),
    event("pass", "A"),
    event("skip", "B"),
    event("fail", "C"),
    event("fail"),
  ];
  expect(goTally(lines)).toEqual({ passed: 1, failed: 1, skipped: 1 });
});

test("go: a package that does not compile is one failure", () => {
  expect(
    goTally([event("pass", "A"), event("pass"), event("fail", undefined, "q"), "FAIL q [build failed]"]),
  ).toEqual({
    passed: 1,
    failed: 1,
    skipped: 0,
  });
});

test("vitest: a file that fails outside its tests is one failure", () => {
  const report = {
    numPassedTests: 3,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 1,
    testResults: [
      { status: "failed", assertionResults: [{ status: "failed" }, { status: "passed" }] },
      { status: "failed", assertionResults: [] },
      { status: "passed", assertionResults: [{ status: "passed" }] },
    ],
  };
  expect(vitestTally(JSON.stringify(report))).toEqual({ passed: 3, failed: 2, skipped: 3 });
});

test("a runner that crashed without a failed test is one failure", () => {
  expect(withExit({ passed: 5, failed: 0, skipped: 0 }, false).failed).toBe(1);
  expect(withExit({ passed: 5, failed: 2, skipped: 0 }, false).failed).toBe(2);
  expect(withExit({ passed: 5, failed: 0, skipped: 0 }, true).failed).toBe(0);
  expect(single(false)).toEqual({ passed: 0, failed: 1, skipped: 0 });
});
