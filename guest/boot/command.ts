import { spawnSync } from "node:child_process";

/** What a person at the terminal should read: a sentence, no stack. */
export class BuildError extends Error {}

interface CommandOptions {
  cwd?: string;
  env?: Record<string, string>;
  input?: Uint8Array;
}

/** Runs a host tool to its end and gives its standard output; anything but success is a BuildError. */
export function command(program: string, args: string[], options: CommandOptions = {}): Buffer {
  const result = spawnSync(program, args, {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: "C", ...options.env },
    input: options.input,
    maxBuffer: 1 << 30,
  });
  if (result.error) {
    const missing = "code" in result.error && result.error.code === "ENOENT";
    throw new BuildError(
      missing
        ? `the program "${program}" is not installed; ./quickstart installs it`
        : `cannot run ${program}: ${result.error.message}`,
    );
  }
  if (result.status !== 0) {
    const said = result.stderr.toString().trim().split("\n").slice(-5).join("\n");
    throw new BuildError(`${program} ${args[0] ?? ""} failed (exit code ${result.status}): ${said}`);
  }
  return result.stdout;
}
