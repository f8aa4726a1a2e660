/** The registries that there are, each made when it is first needed, and what is asked of them before a layer is fetched. */

import { SandboxError } from "../../../contract/errors.ts";
import { type Digest, isDigest, sha256 } from "../digest.ts";
import { MAX_MANIFEST_BYTES, MEDIA_TYPES } from "../manifest.ts";
import { type ImageReference, registryHost } from "../reference.ts";
import { type BlobOptions, downloadBlob } from "./blob-download.ts";
import type { CredentialSource, Credentials } from "./credential-source.ts";
import { Registry } from "./registry.ts";
import { type ImageSettings, type RegistrySettings, settingsOf } from "./settings.ts";
import type { SettingsFile } from "./settings-file.ts";
import { DEFAULT_TIMING, discard, type Timing } from "./transport.ts";

export interface RegistryClientOptions {
  settings: SettingsFile<ImageSettings>;
  credentials: CredentialSource;
  /** For proxies: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`. */
  env: NodeJS.ProcessEnv;
  timing?: Partial<Timing>;
}

/** A manifest or an index as it came. */
export interface FetchedManifest {
  bytes: Buffer;
  mediaType: string | undefined;
  digest: Digest;
  /** Where it came from; the one to ask for what it names, first. */
  registries: readonly Registry[];
}

/** Where something goes on a registry, and how errors call it. */
export interface Place {
  reference: ImageReference;
  what: string;
  signal?: AbortSignal | undefined;
}

const ACCEPT = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
].join(", ");

export class RegistryClient implements AsyncDisposable {
  readonly #options: RegistryClientOptions;
  readonly #registries = new Map<string, Registry>();

  constructor(options: RegistryClientOptions) {
    this.#options = options;
  }

  /** The registry of a reference. Errors: `permission_denied` for one that is blocked. */
  registry(name: string): Registry {
    const settings = settingsOf(this.#options.settings.get(), name);
    assertNotBlocked(name, settings, this.#options.settings.path);
    return this.#make(name, settings);
  }

  /** The mirrors of a registry, in order, and at last itself. */
  withMirrors(name: string): Registry[] {
    const all = this.#options.settings.get();
    const settings = settingsOf(all, name);
    assertNotBlocked(name, settings, this.#options.settings.path);
    const mirrors = settings.mirrors.map((text) => {
      const url = new URL(text);
      const its = settingsOf(all, registryHost(url.host) ?? url.host);
      assertNotBlocked(url.host, its, this.#options.settings.path);
      return this.#make(name, { ...its, mirrors: [] }, url);
    });
    return [...mirrors, this.#make(name, settings)];
  }

  /**
   * The manifest or index of a tag or digest, from the first that has it.
   * Errors: `not_found`, `unauthenticated`, `permission_denied`, `unavailable`, `invalid_argument` if it is not what its digest says.
   */
  async manifest(place: Place, target: string, registries: readonly Registry[]): Promise<FetchedManifest> {
    for (const [i, registry] of registries.entries()) {
      try {
        return { ...(await fetchManifest(registry, place, target)), registries: registries.slice(i) };
      } catch (error) {
        const isLast = i === registries.length - 1;
        if (isLast || (error as SandboxError).code === "cancelled") throw error;
      }
    }
    throw new Error("there is no registry to ask");
  }

  /** A small blob as a whole, checked. Errors: as `downloadBlob`. */
  async document(options: Omit<BlobOptions, "onProgress" | "onRetry">): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const piece of downloadBlob(options)) parts.push(piece);
    return Buffer.concat(parts);
  }

  /** Asks a registry whether it knows somebody. Errors: `permission_denied` if it does not, `unavailable`. */
  async tryCredentials(name: string, credentials: Credentials, signal?: AbortSignal): Promise<void> {
    const { env, timing } = this.#options;
    const settings = settingsOf(this.#options.settings.get(), name);
    assertNotBlocked(name, settings, this.#options.settings.path);
    await using registry = new Registry({
      name,
      settings,
      env,
      timing: { ...DEFAULT_TIMING, ...timing },
      credentials: { find: async () => credentials },
    });
    const what = `logging in to ${name}`;
    const answer = await registry.send({ method: "GET", target: "", scope: "", what, signal });
    await discard(answer);
    if (answer.status === 200) return;
    throw new SandboxError(
      answer.status === 401 || answer.status === 403 ? "permission_denied" : "unavailable",
      `${what}: ${answer.status === 401 ? `it does not accept the credentials of ${JSON.stringify(credentials.username)}` : `it answered ${answer.status}`}`,
    );
  }

  /** Who we are to a registry has changed: by a login or a logout. */
  forgetCredentials(name: string): void {
    for (const registry of this.#registries.values())
      if (registry.name === name) registry.forgetCredentials();
  }

  #make(name: string, settings: RegistrySettings, mirror?: URL): Registry {
    const { credentials, env, timing } = this.#options;
    const key = JSON.stringify([name, mirror?.href, settings]);
    let registry = this.#registries.get(key);
    if (registry === undefined) {
      registry = new Registry({
        name,
        mirror,
        settings,
        credentials,
        env,
        timing: { ...DEFAULT_TIMING, ...timing },
      });
      this.#registries.set(key, registry);
    }
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const registry of this.#registries.values()) await registry[Symbol.asyncDispose]();
    this.#registries.clear();
  }
}

async function fetchManifest(
  registry: Registry,
  { reference, what, signal }: Place,
  target: string,
): Promise<Omit<FetchedManifest, "registries">> {
  const { answer, bytes } = await registry.read(
    {
      method: "GET",
      target: `${reference.path}/manifests/${target}`,
      scope: `repository:${reference.path}:pull`,
      headers: { accept: ACCEPT },
      what,
      signal,
    },
    MAX_MANIFEST_BYTES,
  );
  const digest = sha256(bytes);
  const claimed = isDigest(target) ? target : String(answer.headers["docker-content-digest"] ?? digest);
  if (isDigest(claimed) && claimed !== digest) {
    throw new SandboxError(
      "invalid_argument",
      `${what}: the manifest is not what its digest says: what came is ${digest}`,
      {
        hint: "The registry is broken, or somebody changes what it sends. Do not use this image.",
        details: { expected: claimed, found: digest },
      },
    );
  }
  const mediaType = answer.headers["content-type"];
  return { bytes, digest, mediaType: typeof mediaType === "string" ? mediaType : undefined };
}

function assertNotBlocked(name: string, { blocked }: RegistrySettings, path: string): void {
  if (!blocked) return;
  throw new SandboxError("permission_denied", `the registry ${name} is blocked`, {
    hint: `${path} says so.`,
  });
}
