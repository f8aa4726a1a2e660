/**
 * HTTP to one registry: where it is, how it is trusted, what is tried again. It knows neither credentials nor images.
 *
 * - Redirects are followed by hand, at most five, and never from HTTPS to HTTP. What a request says of who we are goes to the
 *   origin that it was meant for and to no other.
 * - Broken connections, time-outs and the answers 408, 429 and 5xx are tried again with growing pauses; Retry-After is heeded up to a minute.
 * - Every wait has a limit: to connect, for the header, and between two pieces of a body.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { rootCertificates } from "node:tls";
import { Agent, type Dispatcher, EnvHttpProxyAgent, request } from "undici";
import { SandboxError } from "../../../contract/errors.ts";
import { certificatesOf, type RegistrySettings } from "./settings.ts";

export interface Timing {
  connectMs: number;
  headersMs: number;
  /** Between two pieces of a body. */
  stallMs: number;
  /** The first pause before another attempt; it doubles each time. */
  backoffMs: number;
  /** A registry that asks for more patience is given up. */
  maxRetryAfterMs: number;
  attempts: number;
}

export const DEFAULT_TIMING: Timing = {
  connectMs: 10_000,
  headersMs: 60_000,
  stallMs: 30_000,
  backoffMs: 500,
  maxRetryAfterMs: 60_000,
  attempts: 6,
};

const MAX_REDIRECTS = 5;
const MAX_BACKOFF_MS = 15_000;

export interface Call {
  method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
  url: URL;
  headers?: Record<string, string> | undefined;
  /** Who we are; goes to the origin of `url` only. */
  authorization?: string | undefined;
  body?: string | Buffer | AsyncIterable<Uint8Array> | undefined;
  signal?: AbortSignal | undefined;
  /** What it is for, as errors say it. */
  what: string;
  /** Hears that another attempt will be made. */
  onRetry?: (() => void) | undefined;
  /** How often it may be tried. Default: as the timing says. */
  attempts?: number | undefined;
}

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Dispatcher.ResponseData["body"];
  /** Where it came from in the end. */
  url: URL;
}

export class Transport implements AsyncDisposable {
  readonly settings: RegistrySettings;
  readonly #timing: Timing;
  /** For the registry itself, and for where it redirects to: a CDN must be trusted on its own. */
  readonly #own: Dispatcher;
  readonly #others: Dispatcher;

  constructor(settings: RegistrySettings, timing: Timing, env: NodeJS.ProcessEnv) {
    this.settings = settings;
    this.#timing = timing;
    const own = certificatesOf(settings);
    const trust = own === undefined ? {} : { ca: [...rootCertificates, own] };
    this.#own = dispatcher(timing, env, settings.insecure ? { ...trust, rejectUnauthorized: false } : trust);
    this.#others = dispatcher(timing, env, trust);
  }

  /** An answer, whatever it says but that it was worth to try again. Its body must be read or let go with `discard`. */
  async call(call: Call): Promise<Answer> {
    // A stream can be sent only once.
    const attempts = isStream(call.body) ? 1 : (call.attempts ?? this.#timing.attempts);
    for (let attempt = 1; ; attempt++) {
      const result = await this.#follow(call).catch((error: unknown) => this.#failure(call, error));
      if (attempt === attempts || !isWorthRetry(result)) {
        if (result instanceof SandboxError) throw result;
        return result;
      }
      const pauseMs = this.#pause(attempt, result, call.what);
      if (!(result instanceof SandboxError)) await discard(result);
      call.onRetry?.();
      await this.sleep(pauseMs, call.signal, call.what);
    }
  }

  /** How long to wait before attempt number `attempt + 1`. */
  backoffMs(attempt: number): number {
    const most = Math.min(MAX_BACKOFF_MS, this.#timing.backoffMs * 2 ** (attempt - 1));
    return most / 2 + (Math.random() * most) / 2;
  }

  async sleep(ms: number, signal: AbortSignal | undefined, what: string): Promise<void> {
    await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch((cause) => {
      throw cancelled(what, cause);
    });
  }

  #pause(attempt: number, result: Answer | SandboxError, what: string): number {
    const asked = result instanceof SandboxError ? undefined : retryAfterMs(result.headers["retry-after"]);
    if (asked === undefined) return this.backoffMs(attempt);
    if (asked > this.#timing.maxRetryAfterMs) {
      throw new SandboxError(
        "resource_exhausted",
        `${what}: the registry asks to come back in ${Math.ceil(asked / 1000)} s`,
        {
          hint: "It limits how often it is asked. Wait, or log in: msb login HOST",
          details: { retryAfterMs: asked },
        },
      );
    }
    return asked;
  }

  async #follow(call: Call): Promise<Answer> {
    let { url } = call;
    for (let redirects = 0; ; redirects++) {
      const isOwn = url.origin === call.url.origin;
      const response = await request(url, {
        method: call.method,
        headers: {
          ...call.headers,
          ...(isOwn && call.authorization !== undefined ? { authorization: call.authorization } : {}),
        },
        body: call.body ?? null,
        dispatcher: isOwn ? this.#own : this.#others,
        signal: call.signal ?? null,
        headersTimeout: this.#timing.headersMs,
        bodyTimeout: this.#timing.stallMs,
      } as Parameters<typeof request>[1]);
      const { statusCode: status, headers, body } = response;
      const location = headers.location;
      const isRedirect = [301, 302, 303, 307, 308].includes(status) && typeof location === "string";
      if (!isRedirect || !["GET", "HEAD"].includes(call.method)) return { status, headers, body, url };
      await discard({ body });
      if (redirects === MAX_REDIRECTS)
        throw new SandboxError("unavailable", `${call.what}: redirected more than ${MAX_REDIRECTS} times`);
      url = redirected(url, location, call.what);
    }
  }

  #failure(call: Call, error: unknown): SandboxError {
    if (error instanceof SandboxError) return error;
    if (call.signal?.aborted) return cancelled(call.what, error);
    return unreachable(call, error as NodeJS.ErrnoException);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#own.destroy(), this.#others.destroy()]);
  }
}

function dispatcher(
  timing: Timing,
  env: NodeJS.ProcessEnv,
  trust: { ca?: string[]; rejectUnauthorized?: boolean },
): Dispatcher {
  const connect = { timeout: timing.connectMs, ...trust };
  const common = { connect, connections: 8, maxRedirections: 0 };
  const httpsProxy = env.HTTPS_PROXY ?? env.https_proxy;
  const httpProxy = env.HTTP_PROXY ?? env.http_proxy;
  if (!httpsProxy && !httpProxy) return new Agent(common);
  return new EnvHttpProxyAgent({
    ...common,
    requestTls: connect,
    ...(httpsProxy ? { httpsProxy } : {}),
    ...(httpProxy ? { httpProxy } : {}),
    noProxy: [env.NO_PROXY ?? env.no_proxy ?? "", "localhost,127.0.0.1,::1"].filter(Boolean).join(","),
  });
}

function redirected(from: URL, location: string, what: string): URL {
  const to = URL.parse(location, from.href);
  if (to === null || !["https:", "http:"].includes(to.protocol)) {
    throw new SandboxError("unavailable", `${what}: redirected to something that is no URL`);
  }
  if (from.protocol === "https:" && to.protocol === "http:") {
    throw new SandboxError("permission_denied", `${what}: redirected from HTTPS to HTTP, to ${to.host}`, {
      hint: "Nobody could tell who answers there. The registry must redirect to HTTPS.",
    });
  }
  to.username = "";
  to.password = "";
  return to;
}

/** Errors that say `retry` in their details are. */
function isWorthRetry(result: Answer | SandboxError): boolean {
  if (result instanceof SandboxError) return result.details?.retry === true;
  return result.status === 408 || result.status === 429 || (result.status >= 500 && result.status !== 501);
}

/** RFC 9110, section 10.2.3: seconds or a date. */
function retryAfterMs(header: string | string[] | undefined): number | undefined {
  if (typeof header !== "string") return undefined;
  if (/^[0-9]{1,9}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** Reads on a little, so that the connection can be used again, and lets a longer body go. */
export async function discard({ body }: Pick<Answer, "body">): Promise<void> {
  await body.dump({ limit: 64 * 1024 }).catch(() => {});
}

function isStream(body: Call["body"]): boolean {
  return typeof body === "object" && !Buffer.isBuffer(body);
}

export function cancelled(what: string, cause: unknown): SandboxError {
  return new SandboxError("cancelled", `${what} was cancelled`, { cause });
}

/** Nothing answers where the registry should be, or its certificate is not trusted: to ask again is no use. */
const FINAL: Record<string, string> = {
  ENOTFOUND: "there is no such host",
  ECONNREFUSED: "nothing listens there",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "there is no network to it",
};

function unreachable(call: Call, error: NodeJS.ErrnoException): SandboxError {
  const { host } = call.url;
  const code = error.code ?? (error.cause as NodeJS.ErrnoException | undefined)?.code ?? "";
  const certificate = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/.test(code);
  const final = FINAL[code];
  const reason = final ?? (certificate ? `its certificate is not trusted (${code})` : error.message || code);
  return new SandboxError("unavailable", `${call.what}: ${host} cannot be reached: ${reason}`, {
    hint: certificate
      ? `Name its certificate authority in images.json: {"registries": {"${host}": {"ca": "/path/ca.pem"}}}`
      : "Check the name and the network; images.json can name mirrors.",
    details: {
      host,
      reason: code,
      ...(certificate ? { certificate: true } : {}),
      ...(final === undefined && !certificate ? { retry: true } : {}),
    },
    cause: error,
  });
}
