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
  /** For each question. Default: 10 seconds. */
  timeoutMs?: number | undefined;
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
    const program = `docker-credential-${name}`;
    const text = await run(program, registry, options);
    if (text === undefined) continue;
    const parsed = answer.safeParse(parseJson(text));
    if (!parsed.success) throw failure(program, "gave an answer that is none");
    const { Username, Secret } = parsed.data;
    if (Username === TOKEN_USER) return { username: TOKEN_USER, password: "", identityToken: Secret };
    return { username: Username, password: Secret };
  }
  return undefined;
}

/** What the helper wrote; undefined if it says that it has nothing. */
function run(
  program: string,
  registry: string,
  { env, signal, timeoutMs = TIMEOUT_MS }: AskOptions,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const failed = (reason: string) => reject(failure(program, reason));
    // With a process group of its own, since what it starts may hold its output open and must end with it.
    const child = spawn(program, ["get"], { env, stdio: ["pipe", "pipe", "ignore"], detached: true });
    const end = () => {
      child.stdout.destroy();
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {} // it has ended already
    };
    const onAbort = () => {
      end();
      reject(
        new SandboxError("cancelled", `asking the credential helper ${program} was cancelled`, {
          cause: signal?.reason,
        }),
      );
    };
    const timer = setTimeout(() => {
      end();
      failed(`took longer than ${timeoutMs} ms`);
    }, timeoutMs);
    const parts: Buffer[] = [];
    let bytes = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      parts.push(chunk);
      if (bytes <= MAX_BYTES) return;
      end();
      failed(`wrote more than ${MAX_BYTES} bytes`);
    });
    child.on("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      failed(error.code === "ENOENT" ? "is not installed" : `cannot be run: ${error.message}`);
    });
    child.on("close", (code, killed) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      const text = Buffer.concat(parts).toString("utf8");
      if (code === 0) resolve(text);
      else if (/not found/i.test(text)) resolve(undefined);
      else failed(killed === null ? `failed with exit code ${code}` : `was ended by ${killed}`);
    });
    child.stdin.on("error", () => {});
    child.stdin.end(registry);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}

function failure(program: string, reason: string): SandboxError {
  return new SandboxError("unavailable", `the credential helper ${program} ${reason}`, {
    hint: "Docker's config.json names it; correct that, or use: msb login HOST",
  });
}

/** Without the error of JSON.parse, which quotes what it has read: a secret. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
