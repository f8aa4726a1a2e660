import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../contract/errors.ts";
import type { Check, HealthInfo, VersionInfo } from "../contract/index.ts";
import { connect, sharedConnection } from "./connection.ts";
import { Deadline } from "./deadline.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

export interface StartedDaemon {
  health: HealthInfo;
  /** False when it ran already. */
  started: boolean;
}

/** The daemon itself. Nothing here is needed to use sandboxes: it starts by itself. */
export const Daemon = {
  /** Starts the daemon unless it runs. */
  async start(options: CallOptions = {}): Promise<StartedDaemon> {
    const { connection = sharedConnection() } = options;
    const before = await Daemon.status(options);
    if (before) return { health: before, started: false };
    await connection.start();
    const health = await Daemon.status(options);
    if (health) return { health, started: true };
    throw new SandboxError("unavailable", "the daemon started and left at once", {
      hint: `read ${connection.home}/daemon.log`,
    });
  },

  /** Asks the daemon how it is; undefined when none runs. Starts none. */
  async status(options: CallOptions = {}): Promise<HealthInfo | undefined> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    using passive = connect({ home: connection.home, autoStart: false });
    try {
      return await passive.json<HealthInfo>({
        method: "GET",
        path: "/v1/health",
        signal,
        deadlineMs,
        purpose: "ask for the daemon's health",
      });
    } catch (error) {
      if (error instanceof SandboxError && error.code === "unavailable") return undefined;
      throw error;
    }
  },

  /** Asks the daemon to exit and waits until it is gone. Sandboxes go on. Returns false when none runs. */
  async stop(options: CallOptions = {}): Promise<boolean> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    using passive = connect({ home: connection.home, autoStart: false });
    using deadline = new Deadline("stop the daemon", deadlineMs, signal);
    return await deadline.guard(async () => {
      let pid: number;
      try {
        const purpose = "stop the daemon";
        ({ pid } = await passive.json<{ pid: number }>({
          method: "POST",
          path: "/v1/shutdown",
          signal,
          deadlineMs,
          purpose,
        }));
      } catch (error) {
        if (error instanceof SandboxError && error.code === "unavailable") return false;
        throw error;
      }
      while (isAlive(pid)) await sleep(10, undefined, { signal: deadline.signal });
      return true;
    });
  },

  /** What this host can do, what is missing and what mends it. */
  async doctor(options: CallOptions = {}): Promise<Check[]> {
    const { connection = sharedConnection(), signal, deadlineMs = 2 * QUICK_MS } = options;
    const { checks } = await connection.json<{ checks: Check[] }>({
      method: "GET",
      path: "/v1/doctor",
      signal,
      deadlineMs,
      purpose: "check this host",
    });
    return checks;
  },

  async version(options: CallOptions = {}): Promise<VersionInfo> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    return connection.json<VersionInfo>({
      method: "GET",
      path: "/v1/version",
      signal,
      deadlineMs,
      purpose: "ask for the daemon's version",
    });
  },
};

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
