import { type ExecFileOptions, execFile } from "node:child_process";

const OUTPUT_BYTES = 64 * 1024 * 1024;
const DEADLINE_MS = 120_000;

/** Runs a program of somebody else's to its good end, and gives what it wrote. @throws with its last words */
export function run(
  program: string,
  args: readonly string[],
  options: ExecFileOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { maxBuffer: OUTPUT_BYTES, timeout: DEADLINE_MS, ...options, encoding: "utf8" },
      (error, stdout, stderr) => {
        if (error === null) resolve(String(stdout));
        else
          reject(new Error(`${program} ${args.join(" ")}: ${error.message}\n${String(stderr).slice(-4000)}`));
      },
    );
    child.stdin?.end();
  });
}

/** skopeo, whatever this machine's policy says of whom to trust. */
export function skopeo(...args: string[]): Promise<string> {
  return run("skopeo", ["--insecure-policy", ...args]);
}
