import type { Agent as HttpAgent, IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import { BUILD_HEADER, LEAVING } from "../contract/build.ts";
import { type ErrorBody, SandboxError } from "../contract/errors.ts";
import { daemonSocket, homeDirectory } from "../contract/home.ts";
import type { OperationMessage, Progress } from "../contract/index.ts";
import { ownBuild, startDaemon } from "./daemon-start.ts";
import { Deadline } from "./deadline.ts";
import { errorOf } from "./error-of.ts";
import { jsonLines } from "./json-lines.ts";
import { openSocket, type ProcessSocket } from "./process-socket.ts";

// An `import` of node:http reads each of its exports, and one of them is a getter that loads all of undici: 15 ms that every
// command-line call would pay.
const { Agent, request: httpRequest } = process.getBuiltinModule("node:http");

export interface ConnectOptions {
  /** The installation to talk to. Default: `$MSB_HOME`, else `~/.microsandbox` (for root `/var/lib/microsandbox`). */
  home?: string | undefined;
  /** Start the daemon when none runs. Default: true. */
  autoStart?: boolean | undefined;
  /** Milliseconds that a starting daemon may take. Default: 30,000. */
  startDeadlineMs?: number | undefined;
  /** Hears, at most once, that the daemon is of another version and busy. Default: a Node warning. */
  onWarning?: ((message: string) => void) | undefined;
}

/** A request to the daemon, as the classes of this SDK make them. */
export interface ApiRequest {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  query?: Record<string, string | number | boolean | readonly string[] | undefined> | undefined;
  body?: unknown;
  /** A body that streams, in place of `body`. */
  upload?: Readable | undefined;
  headers?: OutgoingHttpHeaders | undefined;
  signal?: AbortSignal | undefined;
  deadlineMs: number | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** What it is for, as "create a sandbox": errors say it. */
  purpose: string;
}

/** What a child process has written is thrown away when it ends and nobody listens: this listens, until there is a request to send it with. */
const keepUnread = (): void => {};

/** How often a request may find the daemon gone and start the next one. */
const MAX_ATTEMPTS = 4;

/**
 * A client's connection to the daemon of one home. It costs nothing until it is used, asks nothing that was not asked of it, and does
 * not keep a program alive.
 */
export class Connection implements Disposable {
  readonly home: string;
  readonly socketPath: string;
  readonly #options: ConnectOptions;
  readonly #agent: HttpAgent;
  #build: string | undefined;
  #warned = false;
  #starting: Promise<void> | undefined;

  constructor(options: ConnectOptions = {}) {
    this.#options = options;
    this.home = options.home ?? homeDirectory();
    this.socketPath = daemonSocket(this.home);
    // The newest idle connection is the one least likely to be closed by the daemon at this moment.
    this.#agent = new Agent({ keepAlive: true, scheduling: "lifo", maxFreeSockets: 8 });
    if (options.autoStart !== false) this.#build = ownBuild();
  }

  /** Asks for a JSON answer. */
  async json<T>(request: ApiRequest): Promise<T> {
    using deadline = new Deadline(request.purpose, request.deadlineMs, request.signal);
    request.upload?.on("error", () => {}); // it may fail before there is a request to fail with it
    try {
      return await deadline.guard(async () => {
        const response = await this.#send(request, deadline);
        try {
          if (response.headers["content-type"]?.startsWith("application/x-ndjson")) {
            return (await lastOf(response, request.onProgress)) as T;
          }
          const text = await readText(response);
          return (text === "" ? undefined : JSON.parse(text)) as T;
        } catch (error) {
          throw LOST.has((error as NodeJS.ErrnoException).code ?? "")
            ? this.#explained(request.purpose, error)
            : error;
        }
      });
    } finally {
      request.upload?.destroy(); // whatever makes it ends with the call
    }
  }

  /** Asks for an answer that streams. The deadline covers its beginning; the signal all of it. */
  async stream(request: ApiRequest): Promise<IncomingMessage> {
    const deadline = new Deadline(request.purpose, request.deadlineMs, request.signal);
    try {
      const response = await deadline.guard(() => this.#send(request, deadline));
      deadline.stopClock();
      response.once("close", () => deadline[Symbol.dispose]());
      return response;
    } catch (error) {
      deadline[Symbol.dispose]();
      throw error;
    }
  }

  /** Opens a WebSocket that carries a process. */
  async processSocket(path: string, purpose: string, signal?: AbortSignal): Promise<ProcessSocket> {
    return this.#retrying(purpose, signal, () =>
      openSocket(this.socketPath, path, this.#buildHeaders(), (headers) => this.#compareBuild(headers)),
    );
  }

  /** Makes sure that a daemon runs. */
  async start(): Promise<void> {
    this.#starting ??= startDaemon(this.home, this.#options.startDeadlineMs ?? 30_000).finally(() => {
      this.#starting = undefined;
    });
    await this.#starting;
    // Whatever we have just started is ours. Were its build another all the same (a program that only loads the real one), we would
    // replace it for ever.
    this.#build = undefined;
  }

  /** Closes idle connections. The object can still be used; it connects again. */
  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #send(request: ApiRequest, deadline: Deadline): Promise<IncomingMessage> {
    // A stream can be sent only once: see that somebody listens before.
    if (request.upload) {
      request.upload.on("readable", keepUnread);
      const probe: ApiRequest = {
        method: "GET",
        path: "/v1/health",
        deadlineMs: undefined,
        purpose: request.purpose,
      };
      (await this.#retrying(request.purpose, deadline.signal, () => this.#once(probe, deadline))).resume();
    }
    let uploads = 0;
    return this.#retrying(request.purpose, deadline.signal, async () => {
      if (request.upload && uploads++ > 0) {
        throw new SandboxError("unavailable", `could not ${request.purpose}: the daemon left meanwhile`, {
          hint: "run it again",
        });
      }
      const response = await this.#once(request, deadline);
      this.#compareBuild(response.headers);
      if ((response.statusCode ?? 500) < 400) return response;
      throw errorOf(await readText(response), response.statusCode);
    });
  }

  /** Runs an attempt until it has met a daemon that serves, starting one where none does. */
  async #retrying<T>(
    purpose: string,
    signal: AbortSignal | undefined,
    attempt: () => Promise<T>,
  ): Promise<T> {
    for (let count = 1; ; count++) {
      try {
        return await attempt();
      } catch (error) {
        if (count === MAX_ATTEMPTS || signal?.aborted) throw this.#explained(purpose, error);
        const verdict = whatNext(error);
        if (verdict === "give up") throw this.#explained(purpose, error);
        if (verdict === "start") {
          if (this.#options.autoStart === false) throw this.#explained(purpose, error);
          await this.start();
        }
      }
    }
  }

  #once(request: ApiRequest, deadline: Deadline): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    const outgoing = httpRequest({
      socketPath: this.socketPath,
      agent: this.#agent,
      method: request.method,
      path: request.path + queryString(request.query),
      signal: deadline.signal,
      headers: {
        ...this.#buildHeaders(),
        ...(request.onProgress ? { accept: "application/json, application/x-ndjson" } : {}),
        ...(body === undefined
          ? {}
          : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
        ...request.headers,
      },
    });
    outgoing.once("response", resolve);
    outgoing.on("error", (error) => {
      // The daemon left as we used the connection: one that was idle, or one that the kernel still took in for a daemon that dies.
      // It may have read the request before, so only what changes nothing is sent again.
      if (request.method === "GET" && LOST.has((error as NodeJS.ErrnoException).code ?? "")) {
        (error as StaleConnection).stale = true;
      }
      reject(error);
    });
    const { upload } = request;
    if (upload) {
      upload.once("error", (error) => outgoing.destroy(uploadError(error)));
      if (upload.errored) outgoing.destroy(uploadError(upload.errored));
      // The daemon may answer before it has read all, to refuse it: then nobody reads on.
      outgoing.once("response", (response) =>
        response.once("end", () => {
          if (!outgoing.writableFinished) outgoing.destroy();
        }),
      );
      upload.off("readable", keepUnread).pipe(outgoing);
    } else {
      outgoing.end(body);
    }
    return promise;
  }

  #buildHeaders(): OutgoingHttpHeaders {
    return this.#build === undefined ? {} : { [BUILD_HEADER]: this.#build };
  }

  #compareBuild(headers: NodeJS.Dict<string | string[]>): void {
    const theirs = headers[BUILD_HEADER];
    if (this.#warned || this.#build === undefined || theirs === undefined || theirs === this.#build) return;
    this.#warned = true;
    const message =
      "the running daemon is of another version and busy; it hands over once nothing runs, or now with: msb daemon stop";
    const warn = this.#options.onWarning ?? ((text) => process.emitWarning(text, "MicrosandboxWarning"));
    warn(message);
  }

  #explained(purpose: string, error: unknown): unknown {
    if (error instanceof SandboxError || (error as Error).name === "AbortError") return error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") {
      return new SandboxError("permission_denied", `cannot open the daemon's socket ${this.socketPath}`, {
        hint: "it belongs to another user; set MSB_HOME to a folder of your own",
        cause: error,
      });
    }
    if (code === "ENOENT" || code === "ECONNREFUSED") {
      return new SandboxError("unavailable", `no daemon serves ${this.socketPath}`, {
        hint: "msb daemon start",
        cause: error,
      });
    }
    return new SandboxError(
      "unavailable",
      `cannot ${purpose}: the connection to the daemon broke (${message})`,
      {
        hint: `read ${this.home}/daemon.log`,
        cause: error,
      },
    );
  }
}

const LOST = new Set(["ECONNRESET", "EPIPE"]);
type StaleConnection = NodeJS.ErrnoException & { stale?: boolean };

function whatNext(error: unknown): "start" | "again" | "give up" {
  if (error instanceof SandboxError) return error.details?.reason === LEAVING ? "start" : "give up";
  const { code, stale } = error as StaleConnection;
  // The last two are no daemon's state; but starting one finds out exactly what is wrong with the home, and says so.
  if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTDIR" || code === "EINVAL") return "start";
  return stale ? "again" : "give up";
}

function uploadError(cause: Error): SandboxError {
  if (cause instanceof SandboxError) return cause;
  return new SandboxError("invalid_argument", `cannot read what is to be sent: ${cause.message}`, { cause });
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

async function lastOf(response: IncomingMessage, onProgress: ApiRequest["onProgress"]): Promise<unknown> {
  for await (const message of jsonLines<OperationMessage>(response)) {
    if (message.type === "result") return message.result;
    if (message.type === "error") throw SandboxError.fromBody(message.error as ErrorBody);
    onProgress?.(message.progress);
  }
  throw new SandboxError("unavailable", "the daemon ended its answer half-way");
}

function queryString(query: ApiRequest["query"]): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) params.append(name, String(one));
  }
  return params.size === 0 ? "" : `?${params}`;
}

let shared: Connection | undefined;

/** The connection that calls use which were given none. It follows `$MSB_HOME`. */
export function sharedConnection(): Connection {
  if (shared?.home !== homeDirectory()) shared = new Connection();
  return shared;
}

/**
 * Makes a connection, to talk to another daemon than the default one or with other settings. Nothing happens until it is used.
 *
 * @example
 * const connection = connect({ home: "/srv/sandboxes", autoStart: false });
 * await Sandbox.list({ connection });
 */
export function connect(options: ConnectOptions = {}): Connection {
  return new Connection(options);
}
