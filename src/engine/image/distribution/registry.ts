/** One registry, or one mirror of it: requests to its API, with what it wants to know of us. */

import { SandboxError } from "../../../contract/errors.ts";
import { readBounded, refusal } from "./answer-body.ts";
import { Authorizer } from "./authorizer.ts";
import { parseChallenges } from "./challenge.ts";
import type { CredentialSource } from "./credential-source.ts";
import { mayGoWithoutTls, type RegistrySettings } from "./settings.ts";
import { type Answer, type Call, cancelled, discard, type Timing, Transport } from "./transport.ts";

const NOBODY: CredentialSource = { find: async () => undefined };

export interface RegistryOptions {
  /** As references name it: `docker.io`, `localhost:5000`. */
  name: string;
  /** Of a mirror: where it is. */
  mirror?: URL | undefined;
  settings: RegistrySettings;
  timing: Timing;
  credentials: CredentialSource;
  env: NodeJS.ProcessEnv;
}

export interface RegistryCall extends Omit<Call, "url" | "authorization"> {
  /** Below `/v2/`, or an address that the registry gave. */
  target: string | URL;
  /** What a token must allow: `repository:library/python:pull`. */
  scope: string;
}

export class Registry implements AsyncDisposable {
  readonly name: string;
  readonly #options: RegistryOptions;
  readonly #transport: Transport;
  readonly #authorizer: Authorizer;
  #base: Promise<URL> | undefined;

  constructor(options: RegistryOptions) {
    const { settings, timing, env, credentials, mirror } = options;
    this.name = mirror?.host ?? options.name;
    this.#options = options;
    this.#transport = new Transport(settings, timing, env);
    // Of a mirror, "http:" says that its images may be read on the way, and no more.
    const isOpen = mirror !== undefined && !mayGoWithoutTls(mirror, settings);
    this.#authorizer = new Authorizer({
      registry: this.name,
      transport: this.#transport,
      credentials: isOpen ? NOBODY : credentials,
    });
  }

  /** Any answer but "who are you?" and those that were worth to try again. Its body must be read or let go. */
  async send(call: RegistryCall): Promise<Answer> {
    const base = await this.base(call.signal);
    const { target, scope, ...rest } = call;
    const url = typeof target === "string" ? new URL(`v2/${target}`, base) : target;
    // Where the registry sends us for uploads may be elsewhere; who we are is for itself.
    const isOwn = url.origin === base.origin;
    for (let round = 0; ; round++) {
      const authorization = isOwn ? this.#authorizer.header(scope) : undefined;
      const answer = await this.#transport.call({ ...rest, url, authorization });
      if (answer.status !== 401 || round === 2 || answer.url.origin !== base.origin) return answer;
      const challenges = parseChallenges(answer.headers["www-authenticate"]);
      const renewed = await this.#authorizer.answer(challenges, scope, answer.url, call.signal);
      if (!renewed || isStream(call.body)) return answer;
      await discard(answer);
    }
  }

  /** As `send`, and an error for an answer that is not one of these. */
  async expect(statuses: readonly number[], call: RegistryCall): Promise<Answer> {
    const answer = await this.send(call);
    if (statuses.includes(answer.status)) return answer;
    throw await refusal(answer, call.what, this.name, await this.base(call.signal));
  }

  /** A whole document and what came with it. One that breaks off on the way is asked for again. Errors: as `expect` and `readBounded`. */
  async read(call: RegistryCall, maxBytes: number): Promise<{ answer: Answer; bytes: Buffer }> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.expect([200], call);
      try {
        return { answer, bytes: await readBounded(answer.body, maxBytes, call.what) };
      } catch (error) {
        if (call.signal?.aborted) throw cancelled(call.what, error);
        const { details } = SandboxError.from(error);
        if (details?.retry !== true || attempt === this.#options.timing.attempts) throw error;
      }
      await this.sleep(this.backoffMs(attempt), call.signal, call.what);
    }
  }

  /** Where its API is, with a slash at its end. HTTP without TLS is only looked for where it is allowed. */
  async base(signal?: AbortSignal): Promise<URL> {
    for (;;) {
      this.#base ??= this.#findBase(signal).catch((error) => {
        this.#base = undefined;
        throw error;
      });
      try {
        return await this.#base;
      } catch (error) {
        // It may be another pull that looked for it and was cancelled; then it is for us to look.
        if (SandboxError.from(error).code !== "cancelled" || signal?.aborted) throw error;
      }
    }
  }

  async #findBase(signal: AbortSignal | undefined): Promise<URL> {
    const { mirror, name, settings } = this.#options;
    if (mirror !== undefined) return new URL(mirror.href.endsWith("/") ? mirror.href : `${mirror.href}/`);
    const host = name === "docker.io" ? "registry-1.docker.io" : name;
    const secure = new URL(`https://${host}/`);
    const plain = new URL(`http://${host}/`);
    if (!mayGoWithoutTls(plain, settings)) return secure;
    const ask = (url: URL) =>
      this.#transport.call({
        method: "GET",
        url: new URL("v2/", url),
        what: `looking for ${name}`,
        signal,
        attempts: 1,
      });
    try {
      await discard(await ask(secure));
      return secure;
    } catch (error) {
      const { code, details } = SandboxError.from(error);
      // It speaks TLS: that nobody knows its certificate is no reason to do without.
      if (code === "cancelled" || details?.certificate === true) throw error;
      await discard(
        await ask(plain).catch((second) => {
          throw SandboxError.from(second).code === "cancelled" ? second : error;
        }),
      );
      return plain;
    }
  }

  /** Who we are to it has changed. */
  forgetCredentials(): void {
    this.#authorizer.forget();
  }

  backoffMs(attempt: number): number {
    return this.#transport.backoffMs(attempt);
  }

  sleep(ms: number, signal: AbortSignal | undefined, what: string): Promise<void> {
    return this.#transport.sleep(ms, signal, what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }
}

function isStream(body: Call["body"]): boolean {
  return typeof body === "object" && !Buffer.isBuffer(body);
}
