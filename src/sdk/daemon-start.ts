import type { ChildProcess } from "node:child_process";
import { closeSync, existsSync, openSync, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { buildId } from "../contract/build.ts";
import { type ErrorBody, SandboxError } from "../contract/errors.ts";
import { daemonLog } from "../contract/home.ts";
import { makeHome } from "../contract/make-home.ts";

/**
 * Starts the daemon when none answers. There is no race to win here: every client starts one, one of them takes the lock, the
 * others see to it that it serves and leave. All say so on a pipe, so nobody polls.
 */
export async function startDaemon(
  home: string,
  deadlineMs: number,
  program = daemonProgram(),
): Promise<void> {
  const log = openLog(home);
  // Loaded here, because most programs find the daemon running.
  const { spawn } = await import("node:child_process");
  const child = spawn(process.execPath, [...NODE_FLAGS, program], {
    cwd: "/",
    env: { ...daemonEnvironment(), MSB_HOME: home, MSB_READY_FD: "3", ...ALLOCATOR },
    detached: true, // a session of its own: the terminal's Ctrl-C is not meant for it
    stdio: ["ignore", log, log, "pipe"],
  });
  closeSync(log);
  try {
    await ready(child.stdio[3] as Readable, child, home, deadlineMs);
  } finally {
    child.unref();
    (child.stdio[3] as Readable).destroy();
  }
}

/**
 * A small young generation: what streams through the daemon is short-lived, and larger ones only let more of it lie about before it is
 * collected (a pull peaked at 237 MiB with V8's own choice and 198 MiB with this).
 */
const NODE_FLAGS = ["--disable-warning=ExperimentalWarning", "--max-semi-space-size=4"];

/**
 * glibc gives freed buffers back at once, and keeps no heap for each thread: a pull peaked at 209 MiB with its own choice and at 155 MiB
 * with this, as fast.
 */
const ALLOCATOR = { MALLOC_ARENA_MAX: "2", MALLOC_TRIM_THRESHOLD_: "131072" };

/** The program beside this one: `daemon.js` in a build, the source file in a checkout. `MSB_DAEMON` names another. */
export function daemonProgram(): string {
  const set = process.env.MSB_DAEMON;
  if (set !== undefined && set !== "") return set;
  const candidates = import.meta.url.endsWith(".ts")
    ? ["../server/main.ts"]
    : ["./daemon.js", "../daemon.js", "../../daemon.js"];
  const files = candidates.map((path) => fileURLToPath(new URL(path, import.meta.url)));
  return files.find((file) => existsSync(file)) ?? files[0]!;
}

/** Build of the daemon that this client would start; undefined when its program is missing. */
export function ownBuild(): string | undefined {
  const file = statSync(daemonProgram(), { throwIfNoEntry: false });
  return file && buildId(file);
}

function openLog(home: string): number {
  try {
    makeHome(home);
    return openSync(daemonLog(home), "a", 0o600);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") {
      throw new SandboxError("resource_exhausted", `no space is left in ${home}`, { cause });
    }
    throw new SandboxError("permission_denied", `cannot write to ${home}: ${message}`, {
      hint: "set MSB_HOME to a folder that you may write to, or mend the permissions of this one",
      cause,
    });
  }
}

const PASSED_ON =
  /^(PATH|HOME|USER|LOGNAME|LANG|LC_.*|TZ|TMPDIR|XDG_.*|MSB_.*|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY|SSL_CERT_(FILE|DIR)|NODE_EXTRA_CA_CERTS|NODE_COMPILE_CACHE)$/;

/** The daemon outlives the shell that happened to start it, so it takes none of that shell's secrets with it. */
function daemonEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name)));
}

function ready(pipe: Readable, child: ChildProcess, home: string, deadlineMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const hint = `read ${daemonLog(home)}`;
    let text = "";
    const timer = setTimeout(() => {
      const message = `the daemon has not come up within ${deadlineMs / 1000} s`;
      reject(new SandboxError("timeout", message, { hint }));
    }, deadlineMs);
    child.once("error", (cause) => {
      reject(new SandboxError("unavailable", `cannot start the daemon: ${cause.message}`, { cause }));
    });
    pipe.on("data", (chunk: Buffer) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end < 0) return;
      clearTimeout(timer);
      const { error } = JSON.parse(text.slice(0, end)) as { error?: ErrorBody };
      if (error) reject(SandboxError.fromBody(error));
      else resolve();
    });
    pipe.once("close", () => {
      clearTimeout(timer);
      reject(new SandboxError("unavailable", "the daemon ended before it could serve", { hint }));
    });
  });
}
