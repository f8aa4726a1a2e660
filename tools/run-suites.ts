/**
 * Runs the suites that are named, or all of them, and ends with the line `N passed, N failed`. ./run-tests
 * calls it after the set-up:
 *
 *   ./run-tests            all
 *   ./run-tests unit go    these
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { add, goTally, single, type Tally, vitestTally, withExit } from "./tally.ts";

const ROOT = resolve(import.meta.dirname, "..");
const REPORTS = resolve(ROOT, "build/test-reports");

const SUITES: Record<string, () => Promise<Tally>> = {
  lint: async () => single(await run("npm", ["run", "--silent", "lint"])),
  unit: () => vitest("unit"),
  go,
  vm: () => vitest("vm"),
};

async function vitest(project: string): Promise<Tally> {
  const report = resolve(REPORTS, `${project}.json`);
  rmSync(report, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const ok = await run("vitest", ["run", "--project", project, ...reporters]);
  try {
    return withExit(vitestTally(readFileSync(report, "utf8")), ok);
  } catch (error) {
    console.error(`the ${project} tests left no report: ${String(error)}`);
    return single(false);
  }
}

/** Shows what `go test` would show without -json, and counts. */
async function go(): Promise<Tally> {
  const lines: string[] = [];
  const outputOf = new Map<string, string>();
  const ok = await run("go", ["test", "-json", "./..."], {
    folder: "guest/agent",
    onLine: (line) => {
      lines.push(line);
      if (!line.startsWith("{")) return console.log(line);
      const { Action, Package = "", Test, Output = "" } = JSON.parse(line) as Record<string, string>;
      const key = `${Package} ${Test ?? ""}`;
      if (Action === "output" || Action === "build-output")
        outputOf.set(key, (outputOf.get(key) ?? "") + Output);
      if (Action === "build-output") process.stdout.write(Output);
      if (Action === "fail" || (Action === "pass" && !Test)) process.stdout.write(outputOf.get(key) ?? "");
    },
  });
  return withExit(goTally(lines), ok);
}

interface RunOptions {
  folder?: string;
  onLine?: (line: string) => void;
}

/** Whether the program ran to a good end. Its output is ours, unless it is wanted line by line. */
function run(program: string, args: string[], { folder = ".", onLine }: RunOptions = {}): Promise<boolean> {
  const child = spawn(program, args, {
    cwd: resolve(ROOT, folder),
    stdio: ["ignore", onLine ? "pipe" : "inherit", "inherit"],
  });
  const read = onLine && child.stdout ? consume(child.stdout, onLine) : Promise.resolve();
  return new Promise((done) => {
    child.once("error", (error) => {
      console.error(`cannot run ${program}: ${error.message}`);
      done(false);
    });
    child.once("close", (code) => read.then(() => done(code === 0)));
  });
}

async function consume(stream: NodeJS.ReadableStream, onLine: (line: string) => void): Promise<void> {
  for await (const line of createInterface({ input: stream })) onLine(line);
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in SUITES));
if (unknown.length > 0) {
  console.error(`no such suite: ${unknown.join(", ")}; there are ${Object.keys(SUITES).join(", ")}`);
  process.exit(1);
}
mkdirSync(REPORTS, { recursive: true });
let total: Tally = { passed: 0, failed: 0, skipped: 0 };
for (const [name, suite] of Object.entries(SUITES)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  console.log(`\n== ${name}`);
  total = add(total, await suite());
}
console.log(
  `\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`,
);
process.exitCode = total.failed === 0 ? 0 : 1;
