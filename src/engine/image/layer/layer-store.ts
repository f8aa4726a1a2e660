/**
 * The layers on disk: `blobs/<hex>` and `trees/<hex>`, called by the sha256 of the layer's uncompressed tar. A layer is
 * there when both are. What is under way lies in `incoming/`, is never looked at by others, and is swept.
 */

import { randomUUID } from "node:crypto";
import { lstat, mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, hexOf } from "../digest.ts";
import { syncDirectory } from "../durable.ts";
import type { ImageLimits } from "../limits.ts";
import { type IngestedLayer, type IngestOptions, ingestLayer } from "./ingest.ts";

export interface Hold extends Disposable {
  readonly digest: Digest;
}

/** Counts who needs what just now, so that a sweep leaves it alone. */
export class Holds {
  readonly #counts = new Map<Digest, number>();

  has(digest: Digest): boolean {
    return this.#counts.has(digest);
  }

  hold(digest: Digest): Hold {
    this.#counts.set(digest, (this.#counts.get(digest) ?? 0) + 1);
    let held = true;
    return {
      digest,
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        const left = this.#counts.get(digest)! - 1;
        if (left === 0) this.#counts.delete(digest);
        else this.#counts.set(digest, left);
      },
    };
  }
}

export class LayerStore {
  readonly #root: string;
  readonly #limits: ImageLimits;
  readonly #holds = new Holds();
  readonly #underWay = new Set<string>();

  constructor(root: string, limits: ImageLimits) {
    this.#root = root;
    this.#limits = limits;
  }

  blobPath(digest: Digest): string {
    return join(this.#root, "blobs", hexOf(digest));
  }

  indexPath(digest: Digest): string {
    return join(this.#root, "trees", hexOf(digest));
  }

  async open(): Promise<void> {
    for (const folder of ["blobs", "trees", "incoming"]) {
      await mkdir(join(this.#root, folder), { recursive: true, mode: 0o755 });
    }
  }

  async has(digest: Digest): Promise<boolean> {
    const found = await Promise.all(
      [this.blobPath(digest), this.indexPath(digest)].map((path) => lstat(path).catch(() => undefined)),
    );
    return found.every((stat) => stat?.isFile());
  }

  /** Ingests a layer; a layer that is here already is not stored again. It is safe from sweeps until let go. */
  async ingest(
    options: Omit<IngestOptions, "directory" | "limits">,
  ): Promise<{ layer: IngestedLayer; hold: Hold }> {
    await using incoming = await this.newFolder();
    const layer = await ingestLayer({ ...options, directory: incoming.path, limits: this.#limits });
    const hold = this.#holds.hold(layer.digest);
    try {
      if (!(await this.has(layer.digest))) {
        // The index last: it is what makes the layer count.
        await this.#moveIn(join(incoming.path, "blob"), this.blobPath(layer.digest));
        await this.#moveIn(join(incoming.path, "tree"), this.indexPath(layer.digest));
      }
    } catch (error) {
      hold[Symbol.dispose]();
      throw error;
    }
    return { layer, hold };
  }

  async #moveIn(from: string, to: string): Promise<void> {
    await rename(from, to);
    await syncDirectory(join(to, ".."));
  }

  /** A folder under `incoming/` for work under way; removed when disposed of. */
  async newFolder(): Promise<AsyncDisposable & { path: string }> {
    const name = randomUUID();
    const path = join(this.#root, "incoming", name);
    this.#underWay.add(name);
    await mkdir(path);
    return {
      path,
      [Symbol.asyncDispose]: async () => {
        await rm(path, { recursive: true, force: true });
        this.#underWay.delete(name);
      },
    };
  }

  /** Removes leftovers, and all layers that are neither in `keep` nor held. Returns the layers and bytes freed. */
  async sweep(keep: ReadonlySet<Digest>): Promise<{ layers: number; bytes: number }> {
    for (const name of await readdir(join(this.#root, "incoming"))) {
      if (!this.#underWay.has(name))
        await rm(join(this.#root, "incoming", name), { recursive: true, force: true });
    }
    let layers = 0;
    let bytes = 0;
    // Indexes first: without one, a blob counts for nothing, should we die in between.
    for (const folder of ["trees", "blobs"]) {
      for (const hex of await readdir(join(this.#root, folder))) {
        const digest: Digest = `sha256:${hex}`;
        if (keep.has(digest) || this.#holds.has(digest)) continue;
        const path = join(this.#root, folder, hex);
        const stat = await lstat(path).catch(() => undefined);
        await rm(path, { recursive: true, force: true });
        bytes += (stat?.blocks ?? 0) * 512;
        if (folder === "blobs") layers++;
      }
    }
    return { layers, bytes };
  }
}
