/** Every static check, one after the other; says all that is wrong, not only the first. `npm run lint`. */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");
const AGENT = "guest/agent";
const LONGEST_FILE = 400;
const SHELL_SCRIPTS = [
  "quickstart",
  "run-tests",
  ".ci/run",
  "bin/msb",
  "tools/*.sh",
  "images/build",
  "images/*/make",
  "images/*/customize",
  "guest/**/*.sh",
];

interface Finding {
  ok: boolean;
  /** What to show of it when it failed. */
  text: string;
}

const CHECKS: Record<string, () => Finding> = {
  biome: () => run("biome", ["check", "--error-on-warnings"]),
  types: () => run("tsc", ["--project", "."]),
  "types of guest/boot": () => run("tsc", ["--project", "guest/boot"]),
  imports: () => run("depcruise", ["src", "test", "bench", "tools", "guest/boot"]),
  "file sizes": fileSizes,
  gofmt,
  "go vet": () => run("go", ["vet", "./..."], AGENT),
  shellcheck: () => run("shellcheck", ["--external-sources", ...SHELL_SCRIPTS.flatMap(files)]),
};

function run(program: string, args: string[], folder = "."): Finding {
  const result = spawnSync(program, args, {
    cwd: resolve(ROOT, folder),
    encoding: "utf8",
    env: { ...process.env, GOTOOLCHAIN: "local", CGO_ENABLED: "0" },
    maxBuffer: 1 << 28,
  });
  if (result.error) return { ok: false, text: `cannot run ${program}: ${result.error.message}` };
  return { ok: result.status === 0, text: result.stdout + result.stderr };
}

/** gofmt names the files that it would change, and exits with 0 all the same. */
function gofmt(): Finding {
  const { ok, text } = run("gofmt", ["-l", "."], AGENT);
  return { ok: ok && text === "", text: text && `not formatted as gofmt does:\n${text}` };
}

/** A file that grows past this usually holds two ideas. */
function fileSizes(): Finding {
  const long = files("src/**/*.ts").flatMap((file) => {
    const lines = readFileSync(resolve(ROOT, file), "utf8").split("\n").length - 1;
    return lines > LONGEST_FILE ? [`${file} has ${lines} lines, more than ${LONGEST_FILE}`] : [];
  });
  return { ok: long.length === 0, text: long.join("\n") };
}

function files(pattern: string): string[] {
  return globSync(pattern, { cwd: ROOT }).sort();
}

let failed = 0;
for (const [name, check] of Object.entries(CHECKS)) {
  const { ok, text } = check();
  console.log(`${ok ? "ok  " : "FAIL"} ${name}`);
  if (ok) continue;
  failed++;
  console.log(text.trimEnd());
}
process.exitCode = failed === 0 ? 0 : 1;
