/**
 * Asks one of Docker's credential helpers, a program `docker-credential-NAME`: `get`, the registry on its stdin, JSON on its stdout.
 * Protocol: docker/docker-credential-helpers, README. Bounds: 10 seconds, 64 KiB.
 */

import { spawn } from "node:child_process";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import type { Credentials } from "./credential-source.ts";

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 * 1024;
/** Helpers that keep an identity token give this as the user's name. */
const TOKEN_USER = "<token>";

const answer = z.object({ Username: z.string(), Secret: z.string() });

export interface AskOptions {
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal | undefined;
}

/** The credentials for the first of the names that the helper knows; undefined if it knows none. Errors: `unavailable`. */
export async function askHelper(
  name: string,
  registries: readonly string[],
  options: AskOptions,
): Promise<Credentials | undefined> {
  // It becomes the name of a program: nothing that could be a path.
  if (!/^[A-Za-z0-9._-]+$/.test(name)) {
    throw new SandboxError(
      "invalid_argument",
      `Docker's configuration names the credential helper ${JSON.stringify(name)}, which is no name`,
    );
  }
  for (const registry of registries) {
    const text = await run(`docker-credential-${name}`, registry, options);
    const parsed = text === undefined ? undefined : answer.safeParse(JSON.parse(text));
    if (!parsed?.success) continue;
    const { Username, Secret } = parsed.data;
    if (Username === TOKEN_USER) return { username: TOKEN_USER, password: "", identityToken: Secret };
    return { username: Username, password: Secret };
  }
  return undefined;
}

/** What the helper wrote; undefined if it says that it has nothing. */
function run(program: string, registry: string, { env, signal }: AskOptions): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const failed = (reason: string) =>
      reject(
        new SandboxError("unavailable", `the credential helper ${program} ${reason}`, {
          hint: "Docker's config.json names it; correct that, or use: msb login HOST",
        }),
      );
    const child = spawn(program, ["get"], {
      env,
      stdio: ["pipe", "pipe", "ignore"],
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
      ...(signal === undefined ? {} : { signal }),
    });
    const parts: Buffer[] = [];
    let bytes = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) child.kill("SIGKILL");
      else parts.push(chunk);
    });
    child.on("error", (error: NodeJS.ErrnoException) =>
      failed(error.code === "ENOENT" ? "is not installed" : `cannot be run: ${error.message}`),
    );
    child.on("close", (code, killed) => {
      const text = Buffer.concat(parts).toString("utf8");
      if (killed !== null)
        failed(`was ended: it took longer than ${TIMEOUT_MS} ms or wrote more than ${MAX_BYTES} bytes`);
      else if (code === 0) resolve(text);
      else if (/not found/i.test(text)) resolve(undefined);
      else failed(`failed with exit code ${code}`);
    });
    child.stdin.on("error", () => {});
    child.stdin.end(registry);
  });
}
