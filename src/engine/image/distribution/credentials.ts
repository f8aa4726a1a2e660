/**
 * Who we are to a registry: what `msb login` keeps in `credentials.json` (0600), else what Docker keeps in its `config.json` and the
 * credential helpers that it names. Secrets stand in no message and in no log.
 */

import { mkdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import { writeDurably } from "../durable.ts";
import { Serial } from "../serial.ts";
import { askHelper } from "./credential-helper.ts";
import type { CredentialSource, Credentials } from "./credential-source.ts";

const MAX_BYTES = 4 * 1024 * 1024;
/** What Docker calls its own registry in `config.json`. */
const DOCKER_HUB_KEY = "https://index.docker.io/v1/";

const ownFile = z.object({
  registries: z.record(z.string(), z.object({ username: z.string(), password: z.string() })),
});

const dockerFile = z.looseObject({
  auths: z
    .record(
      z.string(),
      z.looseObject({
        auth: z.string().nullish(),
        username: z.string().nullish(),
        password: z.string().nullish(),
        identitytoken: z.string().nullish(),
      }),
    )
    .nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
  credsStore: z.string().nullish(),
});

export class CredentialStore implements CredentialSource {
  readonly #path: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #changes = new Serial();

  /** `path`: where `msb login` keeps what it is given. `env`: where Docker's configuration is looked for. */
  constructor(path: string, env: NodeJS.ProcessEnv) {
    this.#path = path;
    this.#env = env;
  }

  async find(registry: string, signal?: AbortSignal): Promise<Credentials | undefined> {
    return (await this.#own()).registries[registry] ?? (await this.#dockers(registry, signal));
  }

  async keep(registry: string, { username, password }: Credentials): Promise<void> {
    await this.#change((registries) => {
      registries[registry] = { username, password };
    });
  }

  /** Errors: `not_found` if there are none of ours. */
  async forget(registry: string): Promise<void> {
    await this.#change((registries) => {
      if (registries[registry] === undefined) {
        throw new SandboxError("not_found", `there are no credentials for ${registry}`, {
          hint: "msb logout forgets what msb login keeps; Docker's own are forgotten with docker logout.",
        });
      }
      delete registries[registry];
    });
  }

  #change(change: (registries: z.output<typeof ownFile>["registries"]) => void): Promise<void> {
    return this.#changes.run(async () => {
      const file = await this.#own();
      change(file.registries);
      await mkdir(dirname(this.#path), { recursive: true });
      await writeDurably(this.#path, `${JSON.stringify(file, undefined, 2)}\n`, 0o600);
    });
  }

  async #own(): Promise<z.output<typeof ownFile>> {
    const text = await readIfThere(this.#path);
    if (text === undefined) return { registries: {} };
    const parsed = ownFile.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    throw new SandboxError("invalid_argument", `${this.#path} is not valid`, {
      hint: "Take the file away and log in again: msb login HOST",
    });
  }

  async #dockers(registry: string, signal: AbortSignal | undefined): Promise<Credentials | undefined> {
    const folder = this.#env.DOCKER_CONFIG ?? join(this.#env.HOME ?? homedir(), ".docker");
    const text = await readIfThere(join(folder, "config.json"));
    // Docker's file is not ours to judge: what cannot be read there counts as nothing.
    const parsed = text === undefined ? undefined : dockerFile.safeParse(parseJson(text));
    if (!parsed?.success) return undefined;
    const { auths, credHelpers, credsStore } = parsed.data;
    const keys = keysOf(registry);
    const helper = keys.map((key) => credHelpers?.[key]).find(Boolean) ?? credsStore;
    if (helper) return askHelper(helper, keys, { env: this.#env, signal });
    for (const key of keys) {
      const entry = auths?.[key];
      if (!entry) continue;
      const [username, password] = entry.auth ? decode(entry.auth) : [entry.username, entry.password];
      const identityToken = entry.identitytoken || undefined;
      if (username && (password || identityToken))
        return { username, password: password ?? "", identityToken };
    }
    return undefined;
  }
}

/** By which names Docker may know a registry. */
function keysOf(registry: string): string[] {
  if (registry === "docker.io")
    return [DOCKER_HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io"];
  return [
    registry,
    `https://${registry}`,
    `http://${registry}`,
    `https://${registry}/`,
    `https://${registry}/v2/`,
  ];
}

function decode(auth: string): [string, string] | [] {
  const text = Buffer.from(auth, "base64").toString("utf8").replace(/\0+$/, "");
  const colon = text.indexOf(":");
  return colon === -1 ? [] : [text.slice(0, colon), text.slice(colon + 1)];
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    const bytes = await readFile(path);
    return bytes.length > MAX_BYTES ? undefined : bytes.toString("utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES") return undefined;
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
