import { unlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { getRequestListener } from "@hono/node-server";
import { BUILD_HEADER, daemonSocket, SandboxError } from "../contract/index.ts";
import type { Engine } from "../engine/index.ts";
import { Activity } from "./activity.ts";
import { createApi } from "./api.ts";
import { homeError, rotateLog } from "./daemon-home.ts";
import { type GateContext, gate } from "./gate.ts";
import type { DaemonLock } from "./lock.ts";
import { removeBound } from "./process-socket.ts";
import { errorAnswer } from "./status.ts";
import { refuse, Upgrades } from "./upgrade.ts";

export interface DaemonOptions {
  home: string;
  engine: Engine;
  lock: DaemonLock;
  build: string;
  /** Exit after so long with nothing running and nobody served, in milliseconds. */
  idleExitMs: number;
  log(message: string): void;
}

export interface Daemon {
  /** Begins an orderly exit; sandboxes go on. */
  leave(reason: string): void;
  /** Resolves when it has left and another may start. */
  readonly left: Promise<void>;
}

/** How long requests that are being served may delay an exit. */
const DRAIN_MS = 5000;
/** How long clients may that have connected and said nothing yet. */
const FRESH_MS = 500;

/** Serves the engine on the home's socket until it is told to leave or has nothing to do. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { home, engine, lock, build, log } = options;
  const socketPath = daemonSocket(home);
  const activity = new Activity();
  const left = Promise.withResolvers<void>();
  const leaving = new AbortController();

  const leave = (reason: string) => {
    if (leaving.signal.aborted) return;
    leaving.abort();
    log(`leaving: ${reason}`);
    clearInterval(idleTimer);
    shutDown().then(left.resolve, left.reject);
  };
  const isIdle = () => activity.count === 0 && engine.sandboxes.runningCount() === 0;
  const gateContext: GateContext = { build, isLeaving: () => leaving.signal.aborted, isIdle, leave };

  const api = createApi({ engine, build, startedAt: new Date(), leaving: leaving.signal, log, leave });
  const serve = getRequestListener(api.fetch);
  const upgrades = new Upgrades({ engine, leaving: leaving.signal, log });
  // An image's tar may take as long as it takes; headers may not.
  const server = createServer({ requestTimeout: 0, headersTimeout: 30_000, maxHeaderSize: 128 * 1024 });
  server.keepAliveTimeout = 60_000;
  const fresh = new Set<Socket>();
  server.on("connection", (socket) => {
    fresh.add(socket);
    socket.once("close", () => fresh.delete(socket));
  });
  server.on("request", (request, response) => {
    fresh.delete(request.socket);
    response.setHeader(BUILD_HEADER, build);
    try {
      gate(request, gateContext);
    } catch (error) {
      const { status, body } = errorAnswer(error);
      // The client comes back on a new connection, to the next daemon.
      response.writeHead(status, { "content-type": "application/json", connection: "close" });
      response.end(JSON.stringify(body));
      return;
    }
    response.once("close", activity.begin());
    void serve(request, response);
  });
  server.on("upgrade", (request, socket, head) => {
    fresh.delete(request.socket);
    try {
      gate(request, gateContext);
    } catch (error) {
      refuse(socket, error);
      return;
    }
    upgrades.accept(request, socket, head, activity.begin());
  });

  async function shutDown(): Promise<void> {
    // First nobody finds it any more; then it answers those who had found it, also those whom the system has connected and
    // we have not seen yet; then it goes. The path is free before the lock is, so the next daemon never has its own socket
    // removed by this one.
    unlinkIfThere(socketPath);
    await nextTurn();
    await nextTurn();
    await waitUntil(() => fresh.size === 0, FRESH_MS);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await waitUntil(() => {
      server.closeIdleConnections(); // again and again: each becomes idle when its answer is sent
      return activity.count === 0;
    }, DRAIN_MS);
    server.closeAllConnections();
    await closed;
    await engine.close();
    lock.release();
  }

  const idleTimer = setInterval(
    () => {
      if (!isIdle() || engine.pools.keepsDaemon()) activity.touch();
      else if (activity.quietMs >= options.idleExitMs) {
        leave(`nothing has run for ${Math.round(options.idleExitMs / 1000)} s`);
      }
    },
    Math.max(10, Math.min(options.idleExitMs / 4, 30_000)),
  );

  rotateLog(home);
  await removeBound(engine);
  await listen(server, home, socketPath);
  return { leave, left: left.promise };
}

async function listen(server: Server, home: string, socketPath: string): Promise<void> {
  // Whoever holds the lock owns the path: what lies there is left of a daemon that died.
  unlinkIfThere(socketPath);
  // The mode has to be right from the first instant; a chmod afterwards would leave a moment open.
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path: socketPath, backlog: 511 }, resolve);
    });
  } catch (error) {
    throw error instanceof SandboxError ? error : homeError(join(home, "run"), error);
  } finally {
    process.umask(umask);
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

async function waitUntil(condition: () => boolean, deadlineMs: number): Promise<void> {
  const until = performance.now() + deadlineMs;
  while (!condition() && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
}
