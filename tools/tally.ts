/** How many tests passed, failed and were skipped, read from what a test runner reports. */
export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

export function add(a: Tally, b: Tally): Tally {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** A check without parts. */
export function single(ok: boolean): Tally {
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 };
}

/** A runner that reports no failed test and yet failed has crashed, or could not load a file: one failure. */
export function withExit(tally: Tally, ok: boolean): Tally {
  return ok || tally.failed > 0 ? tally : { ...tally, failed: 1 };
}

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

/** Vitest's JSON report. A file that failed outside its tests (on loading, in a hook) counts as one test. */
export function vitestTally(json: string): Tally {
  const report = JSON.parse(json) as VitestReport;
  const broken = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

interface GoEvent {
  Action: string;
  Package?: string;
  Test?: string;
}

/** The lines of `go test -json`. A package that failed without a failed test (it did not compile) is one. */
export function goTally(lines: string[]): Tally {
  const events = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as GoEvent);
  const tests = (action: string) =>
    events.filter((event) => event.Action === action && event.Test !== undefined);
  const withFailedTest = new Set(tests("fail").map((event) => event.Package));
  const broken = events.filter(
    (event) => event.Action === "fail" && event.Test === undefined && !withFailedTest.has(event.Package),
  );
  return {
    passed: tests("pass").length,
    failed: tests("fail").length + broken.length,
    skipped: tests("skip").length,
  };
}
