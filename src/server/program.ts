import { closeSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { buildId } from "../contract/build.ts";
import { SandboxError } from "../contract/errors.ts";
import { daemonSocket, homeDirectory } from "../contract/home.ts";
import type { Engine } from "../engine/index.ts";
import { homeError, prepareHome } from "./daemon-home.ts";
import { acquireLock } from "./lock.ts";

/**
 * What the daemon's program does. Whoever starts it may pass a pipe as descriptor `MSB_READY_FD`: it gets one line of JSON, `{}` when a daemon
 * serves (this one or another), or `{"error": …}`.
 *
 * The heavy modules are loaded only with the lock in hand: of ten daemons that start at once, nine are gone before that.
 */

const LOCK_DEADLINE_MS = 30_000;
const IDLE_EXIT_MS = 10 * 60 * 1000;

/**
 * @param entry the program's file, which identifies its build
 * @param openEngine opens what is served, once this process is the only daemon of its home
 */
export async function runDaemon(
  entry: string,
  openEngine: (options: { home: string }) => Promise<Engine>,
): Promise<void> {
  const home = homeDirectory();
  let lock: Awaited<ReturnType<typeof acquireLock>>;
  try {
    prepareHome(home);
    lock = await lockHome(home);
    if (lock === "served") {
      sayReady({});
      process.exit(0);
    }
    const [{ startDaemon }, engine] = await Promise.all([import("./daemon.ts"), openEngine({ home })]);
    const daemon = await startDaemon({
      home,
      engine,
      lock,
      build: buildId(statSync(entry)),
      idleExitMs: milliseconds("MSB_IDLE_EXIT_MS", IDLE_EXIT_MS),
      log,
    });
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => daemon.leave(`got ${signal}`));
    }
    log(`serving ${daemonSocket(home)} as process ${process.pid}, build ${buildId(statSync(entry))}`);
    sayReady({});
    await daemon.left;
    log("left");
    process.exit(0);
  } catch (error) {
    log(`failed: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
    sayReady({ error: SandboxError.from(error).toBody() });
    process.exit(1);
  }
}

async function lockHome(home: string): ReturnType<typeof acquireLock> {
  try {
    return await acquireLock(join(home, "run", "daemon.lock"), daemonSocket(home), LOCK_DEADLINE_MS);
  } catch (error) {
    throw error instanceof SandboxError ? error : homeError(home, error);
  }
}

function sayReady(message: object): void {
  const fd = Number(process.env.MSB_READY_FD ?? "");
  if (!Number.isInteger(fd) || fd < 3) return;
  try {
    writeSync(fd, `${JSON.stringify(message)}\n`);
    closeSync(fd);
  } catch {
    // whoever asked has gone; the daemon serves the next one
  }
}

function milliseconds(name: string, fallback: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return fallback;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new SandboxError(
    "invalid_argument",
    `${name} must be a whole number of milliseconds, it is "${text}"`,
  );
}

function log(message: string): void {
  process.stderr.write(`${new Date().toISOString()} ${message}\n`);
}
