/**
 * Shows one registry who we are: Basic, or tokens for one scope each from the token server that the registry names
 * (distribution-spec; Docker's "Token Authentication Specification"). Without credentials we come as nobody, which is enough for most pulls.
 *
 * A token server is asked only over HTTPS, unless it is on this machine or its registry is allowed to do without; and by HTTPS at any rate
 * if that is how the registry itself is reached.
 */

import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import { readBounded } from "./answer-body.ts";
import type { Challenge } from "./challenge.ts";
import type { CredentialSource } from "./credential-source.ts";
import { mayGoWithoutTls } from "./settings.ts";
import { discard, type Transport } from "./transport.ts";

export interface AuthorizerOptions {
  /** As references name it. */
  registry: string;
  transport: Transport;
  credentials: CredentialSource;
}

const MAX_TOKEN_ANSWER_BYTES = 256 * 1024;
/** What a token lasts if its server does not say. */
const DEFAULT_LIFE_S = 60;
/** Tokens are renewed so long before they end. */
const MARGIN_MS = 10_000;
/** It becomes part of a header. */
const TOKEN = /^[\x21-\x7e]+$/;
const CLIENT_ID = "microsandbox";

const answer = z.object({
  token: z.string().max(65_536).nullish(),
  access_token: z.string().max(65_536).nullish(),
  expires_in: z.number().positive().max(10_000_000).nullish(),
});

interface Token {
  value: string;
  expiresAtMs: number;
}

export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #tokens = new Map<string, Token>();
  #basic: string | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** What to send as `Authorization` for a scope; undefined as long as nothing was asked for. */
  header(scope: string): string | undefined {
    const token = this.#tokens.get(scope);
    if (token !== undefined && token.expiresAtMs - MARGIN_MS > Date.now()) return `Bearer ${token.value}`;
    this.#tokens.delete(scope);
    return this.#basic;
  }

  /** Who we are has changed: what was got for it before is not used any more. */
  forget(): void {
    this.#tokens.clear();
    this.#basic = undefined;
  }

  /**
   * Gets what the registry has asked for.
   *
   * @param url where the challenge came from
   * @returns false if there is nothing new to show
   * @throws `unauthenticated`, `permission_denied`, `unavailable`
   */
  async answer(
    challenges: readonly Challenge[],
    scope: string,
    url: URL,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) {
      this.#tokens.set(scope, await this.#token(bearer, scope, url, signal));
      return true;
    }
    if (!challenges.some(({ scheme }) => scheme === "basic")) return false;
    const credentials = await this.#options.credentials.find(this.#options.registry, signal);
    if (credentials === undefined || credentials.identityToken !== undefined) return false;
    const header = basic(credentials.username, credentials.password);
    if (header === this.#basic) return false; // it was not good enough
    this.#basic = header;
    return true;
  }

  async #token(
    challenge: Challenge,
    scope: string,
    from: URL,
    signal: AbortSignal | undefined,
  ): Promise<Token> {
    const { registry, transport } = this.#options;
    const realm = URL.parse(challenge.parameters.get("realm") ?? "");
    if (realm === null || !["https:", "http:"].includes(realm.protocol)) {
      throw new SandboxError("unavailable", `${registry} asks for a token and does not say where to get it`);
    }
    if (
      !mayGoWithoutTls(realm, transport.settings) ||
      (realm.protocol === "http:" && from.protocol === "https:")
    ) {
      throw new SandboxError(
        "permission_denied",
        `${registry} sends us for a token to ${realm.host} without HTTPS`,
        {
          hint: "Credentials would be readable on the way. The registry must name an HTTPS address.",
        },
      );
    }
    const credentials = await this.#options.credentials.find(registry, signal);
    const service = challenge.parameters.get("service");
    const what = `getting a token from ${realm.host}`;
    const common = { what, signal };
    let result: Awaited<ReturnType<Transport["call"]>>;
    if (credentials?.identityToken !== undefined) {
      const form = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: credentials.identityToken,
        client_id: CLIENT_ID,
        ...(scope === "" ? {} : { scope }),
        ...(service === undefined ? {} : { service }),
      });
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      result = await transport.call({ ...common, method: "POST", url: realm, headers, body: String(form) });
    } else {
      if (service !== undefined) realm.searchParams.set("service", service);
      if (scope !== "") realm.searchParams.set("scope", scope);
      const authorization =
        credentials === undefined ? undefined : basic(credentials.username, credentials.password);
      if (credentials !== undefined) realm.searchParams.set("account", credentials.username);
      result = await transport.call({ ...common, method: "GET", url: realm, authorization });
    }
    if (result.status === 401 || result.status === 403) {
      await discard(result);
      throw new SandboxError(
        credentials === undefined ? "unauthenticated" : "permission_denied",
        credentials === undefined
          ? `${registry} does not let in everybody`
          : `${registry} does not accept the credentials of ${JSON.stringify(credentials.username)}`,
        { hint: `Log in: msb login ${registry}` },
      );
    }
    if (result.status !== 200) {
      await discard(result);
      throw new SandboxError("unavailable", `${what} failed: it answered ${result.status}`);
    }
    const parsed = answer.safeParse(parseJson(await readBounded(result.body, MAX_TOKEN_ANSWER_BYTES, what)));
    const value = parsed.data?.token || parsed.data?.access_token;
    if (!value || !TOKEN.test(value))
      throw new SandboxError("unavailable", `${what} failed: its answer holds no token`);
    const lifeMs = (parsed.data?.expires_in ?? DEFAULT_LIFE_S) * 1000;
    return { value, expiresAtMs: Date.now() + Math.max(lifeMs, MARGIN_MS + 1000) };
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
