import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface GoProgram extends AsyncDisposable {
  /** The static binary. */
  path: string;
}

/** Builds one of the tests' own programs, e.g. `jail-probe`, or of the folder of the module `beside`. */
export async function buildGoProgram(name: string, beside = import.meta.url): Promise<GoProgram> {
  const folder = await mkdtemp(join(tmpdir(), "msb-test-go-"));
  const path = join(folder, name);
  const source = fileURLToPath(new URL(`${name}/`, beside));
  await run("go", ["build", "-trimpath", "-o", path, "."], {
    cwd: source,
    env: { ...process.env, CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOFLAGS: "-buildvcs=false" },
  });
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
