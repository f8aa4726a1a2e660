import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { LayerProgress } from "../../../../contract/images.ts";
import { type Workspace, workspace } from "../../workspace.test-support.ts";
import { CredentialStore } from "../credentials.ts";
import { ImagePolicy } from "../policy.ts";
import { type PullOptions, pullImage } from "../pull.ts";
import { type PushOptions, pushImage } from "../push.ts";
import { RegistryClient } from "../registry-client.ts";
import { imageSettingsFile } from "../settings.ts";
import type { Timing } from "../transport.ts";

/** As patient as a test may be. */
const QUICK: Partial<Timing> = {
  connectMs: 1000,
  headersMs: 400,
  stallMs: 200,
  backoffMs: 1,
  maxRetryAfterMs: 2000,
  attempts: 4,
};

/** A store and a client with settings, policy and credentials of their own. */
export interface PullBench extends AsyncDisposable {
  ws: Workspace;
  client: RegistryClient;
  credentials: CredentialStore;
  pull(reference: string, options?: Partial<PullOptions>): ReturnType<typeof pullImage>;
  push(name: string, options?: Partial<PushOptions>): ReturnType<typeof pushImage>;
  /** What was told of layers, in order. */
  layers: LayerProgress[];
  write(file: "images.json" | "policy.json" | "docker/config.json", value: unknown): Promise<void>;
  /** Layers, configurations and names: empty after a pull that failed. */
  left(): Promise<string[]>;
}

export async function pullBench(
  timing: Partial<Timing> = {},
  proxies: NodeJS.ProcessEnv = {},
): Promise<PullBench> {
  const ws = await workspace();
  const at = (name: string) => join(ws.path, name);
  const env = { DOCKER_CONFIG: at("docker"), HOME: ws.path, PATH: process.env.PATH };
  const credentials = new CredentialStore(at("credentials.json"), env);
  const client = new RegistryClient({
    settings: imageSettingsFile(at("images.json")),
    credentials,
    env: proxies,
    timing: { ...QUICK, ...timing },
  });
  const policy = new ImagePolicy(at("policy.json"));
  const layers: LayerProgress[] = [];
  const onProgress = ({ layer }: { layer?: LayerProgress }) => {
    if (layer !== undefined) layers.push(layer);
  };
  return {
    ws,
    client,
    credentials,
    layers,
    pull: (reference, options) =>
      pullImage({ store: ws.store, client, policy }, { reference, onProgress, ...options }),
    push: (name, options) => pushImage({ store: ws.store, client }, { name, onProgress, ...options }),
    write: (file, value) => writeFile(at(file), typeof value === "string" ? value : JSON.stringify(value)),
    async left() {
      const found: string[] = [];
      for (const folder of ["blobs", "recipes", "trees", "configs", "names", "disks", "incoming"]) {
        const files = await readdir(at(`images/${folder}`)).catch(() => []);
        found.push(...files.map((file) => `${folder}/${file}`));
      }
      return found;
    },
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await ws[Symbol.asyncDispose]();
    },
  };
}
