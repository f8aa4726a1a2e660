import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, constants, readFile, realpath } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { SandboxError } from "../../../contract/index.ts";

const run = promisify(execFile);

/**
 * The oldest QEMU that can map a template's memory from a file it cannot write to (`readonly=on,rom=off` of
 * memory-backend-file): with an older one, one owned VM could poison every later sandbox.
 */
export const MIN_QEMU = [8, 2] as const;

export interface QemuBinary {
  path: string;
  version: string;
  /** sha256 of the file. */
  hash: string;
  /** Folders in which this QEMU looks for firmware, first match wins. */
  firmwareDirectories: string[];
}

const NAMES: Record<string, string> = { x64: "qemu-system-x86_64", arm64: "qemu-system-aarch64" };

/** Name of the system emulator for this host's architecture. */
export function qemuName(arch: string = process.arch): string {
  const name = NAMES[arch];
  if (name === undefined)
    throw new SandboxError("unsupported", `there is no guest for the architecture '${arch}'`);
  return name;
}

/**
 * Finds QEMU: `$MSB_QEMU`, else the first in `$PATH`.
 * @throws `not_found` if there is none, `unsupported` if it is older than 8.2
 */
export async function findQemu(env: NodeJS.ProcessEnv = process.env): Promise<QemuBinary> {
  const path = await locate(env);
  let output: string;
  try {
    output = (await run(path, ["--version"], { timeout: 10_000 })).stdout;
  } catch (cause) {
    throw new SandboxError("unavailable", `'${path} --version' does not run`, {
      hint: "Install QEMU again, or name a working one in MSB_QEMU.",
      cause,
    });
  }
  const version = /version (\d+\.\d+(?:\.\d+)?)/.exec(output)?.[1];
  if (version === undefined) {
    throw new SandboxError("unsupported", `'${path}' does not say which version of QEMU it is`);
  }
  checkVersion(path, version);
  const [bytes, directories] = await Promise.all([
    readFile(path),
    run(path, ["-L", "help"], { timeout: 10_000 }),
  ]);
  return {
    path,
    version,
    hash: createHash("sha256").update(bytes).digest("hex"),
    firmwareDirectories: directories.stdout.split("\n").filter((line) => line.startsWith("/")),
  };
}

/** @throws `unsupported`, naming both versions, if `version` is older than 8.2 */
export function checkVersion(path: string, version: string): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > MIN_QEMU[0] || (major === MIN_QEMU[0] && minor >= MIN_QEMU[1])) return;
  throw new SandboxError(
    "unsupported",
    `QEMU ${version} at '${path}' is too old: ${MIN_QEMU.join(".")} is the oldest that works`,
    {
      hint: "On Debian 12 take it from the backports suite: apt-get install -t bookworm-backports qemu-system-x86",
      details: { found: version, needed: MIN_QEMU.join(".") },
    },
  );
}

async function locate(env: NodeJS.ProcessEnv): Promise<string> {
  const asked = env.MSB_QEMU;
  const candidates = asked
    ? [asked]
    : (env.PATH ?? "")
        .split(delimiter)
        .filter(Boolean)
        .map((d) => join(d, qemuName()));
  for (const candidate of candidates) {
    try {
      await access(candidate, constants.X_OK);
      return await realpath(candidate);
    } catch {
      // Not in this folder; the error below tells if it is in none.
    }
  }
  throw new SandboxError(
    "not_found",
    asked
      ? `MSB_QEMU names '${asked}', which is not an executable file`
      : `QEMU (${qemuName()}) is not installed`,
    {
      hint: asked
        ? "Correct MSB_QEMU or leave it out."
        : "On Debian and Ubuntu: apt-get install qemu-system-x86. 'msb doctor' tells more.",
    },
  );
}
