/** The OCI configurations of the store's images, one file each, `<hex of the image's digest>` in a folder. */

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../contract/errors.ts";
import { type Digest, hexOf, isDigest } from "./digest.ts";
import { PARTIAL_SUFFIX, writeDurably } from "./durable.ts";
import { type ParsedImage, parseOciImage } from "./oci-image.ts";

export interface StoredConfig extends ParsedImage {
  /** The configuration, byte for byte. */
  rawConfig: Buffer;
}

export class ConfigFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o755 });
  }

  /** The image's configuration; undefined if there is no such image. Errors: `internal` for a damaged one. */
  async get(digest: Digest): Promise<StoredConfig | undefined> {
    const rawConfig = await readFile(this.#path(digest)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (rawConfig === undefined) return undefined;
    try {
      const parsed = parseOciImage(rawConfig);
      if (parsed.digest !== digest) throw new Error("its digest is another one");
      return { ...parsed, rawConfig };
    } catch (cause) {
      throw new SandboxError("internal", `the stored configuration of image ${digest} is damaged`, {
        hint: "Remove the image, and import or pull it again.",
        cause,
      });
    }
  }

  async put(digest: Digest, rawConfig: Uint8Array): Promise<void> {
    await writeDurably(this.#path(digest), rawConfig, 0o644);
  }

  async list(): Promise<Digest[]> {
    const files = await readdir(this.#directory);
    return files.map((file) => `sha256:${file}`).filter(isDigest);
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.#path(digest), { force: true });
  }

  /** Removes what a crash left half-written. */
  async sweep(): Promise<void> {
    for (const file of await readdir(this.#directory)) {
      if (file.endsWith(PARTIAL_SUFFIX)) await rm(join(this.#directory, file), { force: true });
    }
  }

  #path(digest: Digest): string {
    return join(this.#directory, hexOf(digest));
  }
}
