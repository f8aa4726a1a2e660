import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Tally, vitestTally } from "../../tools/tally.ts";
import type { Soak } from "./soak.ts";

/** The tests in which something is killed, full, hung or out of time, again and again: what fails once in ten runs is a fault as well. */
const FILES = ["limits", "crash", "failure", "endings", "lifetime"];
const ROOT = resolve(import.meta.dirname, "../..");

export const faults: Soak = Object.fromEntries(
  FILES.map((name) => [name, (rounds = 10) => inARow(name, rounds)]),
);

/** Each round is a run of the test file as anybody would start it, with daemon, VMs and home of its own. */
async function inARow(name: string, rounds: number): Promise<string[]> {
  const failures: string[] = [];
  let passed = 0;
  for (let round = 1; round <= rounds; round++) {
    const { tally, failed, output } = await once(`test/${name}.test.ts`);
    passed += tally.passed;
    for (const test of failed) failures.push(`round ${round} of ${rounds}: ${test}`);
    if (tally.failed > failed.length) failures.push(`round ${round} of ${rounds}: the file did not run`);
    if (tally.failed > 0) console.log(output);
  }
  console.log(`${name}: ${rounds} times in a row, ${passed} passed, ${failures.length} failed`);
  return failures;
}

interface Round {
  tally: Tally;
  /** Names of tests. */
  failed: string[];
  output: string;
}

/** @param env what the tests are told beside */
export async function once(file: string, env: Record<string, string> = {}): Promise<Round> {
  const folder = await mkdtemp(join(tmpdir(), "msb-soak-"));
  try {
    const report = join(folder, "report.json");
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    const output = await vitest(["run", "--project", "vm", file, ...reporters], env);
    const json = await readFile(report, "utf8").catch(() => undefined);
    if (json === undefined) return { tally: { passed: 0, failed: 1, skipped: 0 }, failed: [], output };
    return { tally: vitestTally(json), failed: failedTests(json), output };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function failedTests(json: string): string[] {
  const { testResults } = JSON.parse(json) as {
    testResults: { assertionResults: { fullName: string; status: string }[] }[];
  };
  return testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === "failed")
    .map(({ fullName }) => fullName);
}

/** @returns all that it printed */
function vitest(args: string[], env: Record<string, string>): Promise<string> {
  const program = join(ROOT, "node_modules/vitest/vitest.mjs");
  const child = spawn(process.execPath, [program, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  return new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", () => done(output));
  });
}
