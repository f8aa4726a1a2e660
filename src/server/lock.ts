import { closeSync, openSync } from "node:fs";
import { connect } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../contract/index.ts";

/**
 * The lock that makes a daemon the only one in its home. It must vanish with its process however that dies, and Node has no `flock`:
 * an exclusive SQLite transaction is a POSIX file lock, which the kernel drops.
 */
export interface DaemonLock {
  release(): void;
}

const SQLITE_BUSY = 5;
const RETRY_MS = 15;

/**
 * Takes the lock, or finds that another daemon serves. While the lock is taken and nobody serves, the other one is starting or leaving:
 * both end soon, so it waits.
 *
 * @param file the lock's file, made if missing
 * @param socketPath where the other daemon would be heard
 * @returns `"served"` when another daemon answers
 */
export async function acquireLock(
  file: string,
  socketPath: string,
  deadlineMs: number,
): Promise<DaemonLock | "served"> {
  const until = performance.now() + deadlineMs;
  for (;;) {
    const lock = tryLock(file);
    if (lock) return lock;
    if (await answers(socketPath)) return "served";
    if (performance.now() > until) {
      throw new SandboxError(
        "unavailable",
        `another daemon holds ${file} but has not answered on ${socketPath} for ${deadlineMs / 1000} s`,
        { hint: `find it with: fuser ${file}` },
      );
    }
    await sleep(RETRY_MS);
  }
}

function tryLock(file: string): DaemonLock | undefined {
  // Made here, for its mode: whoever can open it can lock it.
  closeSync(openSync(file, "a", 0o600));
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    // Nothing is ever written, and a journal on disk would outlive a crash.
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return { release: () => database.close() };
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw error;
  }
}

/** Whether something accepts connections there. */
export function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
