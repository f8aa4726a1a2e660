import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type LayerProgress, type LoginRequest, SandboxError } from "../../contract/index.ts";
import type { OperationContext } from "../../engine/index.ts";

export const sha256 = (text: string | Uint8Array) =>
  `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** What an image of the engine without VMs is: one tar and a configuration. */
export interface LocalContent {
  tar: Buffer;
  config?: unknown;
  platform: string;
}

/**
 * A registry in memory, `registry.test`: it has `app`, `slow` (four layers, a second to fetch) and what was pushed; user `ann` with
 * password `secret` may log in.
 */
export class LocalRegistry {
  readonly #images = new Map<string, LocalContent>(
    ["registry.test/app:latest", "registry.test/slow:latest"].map((name) => [
      name,
      { tar: Buffer.alloc(4096, name), platform: "linux/amd64" },
    ]),
  );
  readonly #users = new Set<string>();

  has(name: string): boolean {
    return this.#images.has(name);
  }

  async pull(name: string, platform: string, context: OperationContext): Promise<LocalContent> {
    const found = this.#images.get(name);
    if (!found) {
      throw new SandboxError("not_found", `there is no image ${name} in its registry`, {
        hint: "msb login registry.test, if it is private",
      });
    }
    await transfer(name, "downloading", context);
    return { ...found, platform };
  }

  async push(name: string, content: LocalContent, context: OperationContext): Promise<string> {
    if (!name.startsWith("registry.test/")) {
      throw new SandboxError("unauthenticated", `the registry of ${name} asks who you are`, {
        hint: "msb login",
      });
    }
    await transfer(name, "uploading", context);
    this.#images.set(name, content);
    return manifestDigest(content);
  }

  login({ registry, username, password }: LoginRequest): void {
    if (registry !== "registry.test" || username !== "ann" || password !== "secret") {
      throw new SandboxError("unauthenticated", `${registry} does not take these credentials`);
    }
    this.#users.add(registry);
  }

  logout(registry: string): void {
    if (!this.#users.delete(registry)) {
      throw new SandboxError("not_found", `there are no credentials for ${registry}`);
    }
  }
}

export const manifestDigest = ({ tar }: LocalContent) => sha256(`manifest of ${sha256(tar)}`);

async function transfer(
  name: string,
  phase: "downloading" | "uploading",
  { onProgress, signal }: OperationContext,
): Promise<void> {
  const slow = name.includes("/slow");
  const digests = ["a", "b", "c", "d"].slice(0, slow ? 4 : 1).map((layer) => sha256(name + layer));
  const task = `${phase === "uploading" ? "pushing" : "pulling"} ${name}`;
  const tell = (digest: string, layer: Omit<LayerProgress, "digest">) =>
    onProgress?.({ task, layer: { digest, ...layer } });
  const totalBytes = 50_000_000;
  for (const digest of digests) tell(digest, { phase: "waiting", bytes: 0, totalBytes });
  for (let share = 0; share < 10; share++) {
    for (const [index, digest] of digests.entries()) {
      if (index === 3) tell(digest, { phase: "exists", bytes: 0, totalBytes });
      else if (index === 2 && share === 5) tell(digest, { phase: "retrying", bytes: 20_000_000, totalBytes });
      else tell(digest, { phase, bytes: (totalBytes * share) / 10, totalBytes });
    }
    if (slow) await sleep(Number(process.env.MSB_TEST_STEP_MS ?? 100), undefined, signal ? { signal } : {});
  }
  for (const [index, digest] of digests.entries()) {
    if (index !== 3) tell(digest, { phase: "done", bytes: totalBytes, totalBytes });
  }
}
