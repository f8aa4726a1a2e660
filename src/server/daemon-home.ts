import { copyFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { daemonLog, daemonSocket, SandboxError } from "../contract/index.ts";
import { makeHome } from "../contract/make-home.ts";

/** The daemon's own files in `$MSB_HOME`. */

const MAX_LOG_BYTES = 10 * 1024 * 1024;
/** A unix socket's path has 108 bytes on Linux and 104 on macOS, its final NUL included. */
const MAX_SOCKET_PATH = 103;

/** Makes the folders that the daemon needs before anything else can be made. */
export function prepareHome(home: string): void {
  const socket = daemonSocket(home);
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH) {
    throw new SandboxError(
      "invalid_argument",
      `the path of the daemon's socket is longer than ${MAX_SOCKET_PATH} bytes: ${socket}`,
      { hint: "set MSB_HOME to a shorter path" },
    );
  }
  try {
    makeHome(join(home, "run"));
  } catch (error) {
    throw homeError(home, error);
  }
}

/** What a failed access to the home means to its user. */
export function homeError(home: string, cause: unknown): SandboxError {
  const { code, path, message } = cause as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new SandboxError("resource_exhausted", `no space is left for ${path ?? home}`, { cause });
  }
  return new SandboxError("permission_denied", `cannot write to ${home}: ${message}`, {
    hint: "set MSB_HOME to a folder that you may write to, or mend the permissions of this one",
    cause,
  });
}

/**
 * Moves a log that has grown too large to `daemon.log.1`. It is copied and cut, not renamed: this process, and any that raced to become
 * the daemon, already have the file open for appending.
 */
export function rotateLog(home: string): void {
  const log = daemonLog(home);
  try {
    if (statSync(log).size <= MAX_LOG_BYTES) return;
    copyFileSync(log, `${log}.1`);
    truncateSync(log);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
