/**
 * The layers on disk: `blobs/<hex>`, `recipes/<hex>` and `trees/<hex>`, called by the sha256 of the layer's uncompressed tar. A
 * layer is there when all three are. What is under way lies in `incoming/`, is never looked at by others, and is swept.
 */

import { randomUUID } from "node:crypto";
import { lstat, mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../../contract/errors.ts";
import { syncPath } from "../../sync-path.ts";
import { type Digest, hexOf } from "../digest.ts";
import { Holds } from "../holds.ts";
import type { ImageLimits } from "../limits.ts";
import type { Quota } from "../quota.ts";
import { type IngestOptions, ingestLayer } from "./ingest.ts";
import { type LayerFacts, readFacts } from "./layer-index.ts";
import { restoreTar } from "./layer-recipe.ts";

/** A layer that is here and stays at least until it is disposed of. */
export interface HeldLayer extends Disposable {
  readonly facts: LayerFacts;
}

export interface IngestLayerOptions extends Omit<IngestOptions, "directory" | "limits" | "charge"> {
  /** What the layer is, as errors say it: `layer sha256:… of python:3.12`. */
  what: string;
  /** The digest that the uncompressed tar must have. */
  expected?: Digest | undefined;
}

/** The index goes first when a layer goes, and comes last: it is what makes the layer count. */
const FOLDERS = ["trees", "recipes", "blobs"] as const;

export class LayerStore {
  readonly #root: string;
  readonly #limits: ImageLimits;
  readonly #quota: Quota;
  readonly #holds = new Holds();
  readonly #folders = new Set<string>();
  /** Layers whose digest is known before and that are being taken in. */
  readonly #underWay = new Map<Digest, Promise<void>>();

  constructor(root: string, limits: ImageLimits, quota: Quota) {
    this.#root = root;
    this.#limits = limits;
    this.#quota = quota;
  }

  blobPath(digest: Digest): string {
    return join(this.#root, "blobs", hexOf(digest));
  }

  indexPath(digest: Digest): string {
    return join(this.#root, "trees", hexOf(digest));
  }

  #recipePath(digest: Digest): string {
    return join(this.#root, "recipes", hexOf(digest));
  }

  async open(): Promise<void> {
    for (const folder of [...FOLDERS, "incoming"]) {
      await mkdir(join(this.#root, folder), { recursive: true, mode: 0o755 });
    }
  }

  /** What is known of a layer; undefined if it is not here, or not whole. */
  async facts(digest: Digest): Promise<LayerFacts | undefined> {
    const facts = await readFacts(this.indexPath(digest));
    if (facts === undefined) return undefined;
    const parts = [this.blobPath(digest), this.#recipePath(digest)];
    const found = await Promise.all(parts.map((path) => lstat(path).catch(() => undefined)));
    return found.every((stat) => stat?.isFile()) ? facts : undefined;
  }

  /** A layer that is here, safe from sweeps until it is let go. */
  async hold(digest: Digest): Promise<HeldLayer | undefined> {
    const hold = this.#holds.hold(digest);
    const facts = await this.facts(digest).catch((error) => {
      hold[Symbol.dispose]();
      throw error;
    });
    if (facts !== undefined) return { facts, [Symbol.dispose]: () => hold[Symbol.dispose]() };
    hold[Symbol.dispose]();
    return undefined;
  }

  /**
   * Takes a layer in. One that is here already is not stored again; one that is `expected` is not even read again, and of two
   * that ask for the same expected layer at once, one reads and the other waits.
   *
   * Errors: those of `ingestLayer`; `invalid_argument` when it is not the expected one; `resource_exhausted`.
   */
  async ingest(options: IngestLayerOptions): Promise<HeldLayer> {
    const { expected } = options;
    if (expected === undefined) return this.#ingest(options);
    for (;;) {
      const here = await this.hold(expected);
      if (here !== undefined) return here;
      const other = this.#underWay.get(expected);
      if (other === undefined) break;
      // Should it fail, it is our turn.
      await untilAborted(other, options.signal);
    }
    const ingesting = this.#ingest(options);
    const settled = ingesting.then(
      () => {},
      () => {},
    );
    this.#underWay.set(expected, settled);
    try {
      return await ingesting;
    } finally {
      this.#underWay.delete(expected);
    }
  }

  async #ingest({ what, expected, ...options }: IngestLayerOptions): Promise<HeldLayer> {
    await using incoming = await this.newFolder();
    using charge = this.#quota.open(what);
    const { skippedXattrs: _, ...facts } = await ingestLayer({
      ...options,
      directory: incoming.path,
      limits: this.#limits,
      charge: charge.add,
    }).catch((error) => {
      throw named(error, what, expected);
    });
    const { digest } = facts;
    if (expected !== undefined && digest !== expected) {
      throw new SandboxError(
        "invalid_argument",
        `${what} is not what it claims to be: its contents are ${digest}`,
        {
          hint: "The image is damaged or was tampered with. Do not use it.",
          details: { layer: expected, found: digest },
        },
      );
    }
    const hold = this.#holds.hold(digest);
    try {
      if ((await this.facts(digest)) === undefined) {
        for (const folder of FOLDERS.toReversed()) {
          await rename(join(incoming.path, PART_NAMES[folder]), join(this.#root, folder, hexOf(digest)));
          await syncPath(join(this.#root, folder));
        }
        charge.keep();
      }
    } catch (error) {
      hold[Symbol.dispose]();
      throw error;
    }
    return { facts, [Symbol.dispose]: () => hold[Symbol.dispose]() };
  }

  /** The layer's exact tar. Errors: `not_found`, `internal` for a damaged one. */
  async *tar(digest: Digest): AsyncGenerator<Buffer> {
    using _hold = this.#holds.hold(digest);
    yield* restoreTar({ digest, recipePath: this.#recipePath(digest), blobPath: this.blobPath(digest) });
  }

  /** A folder under `incoming/` for work under way; removed when disposed of. */
  async newFolder(): Promise<AsyncDisposable & { path: string }> {
    const name = randomUUID();
    const path = join(this.#root, "incoming", name);
    this.#folders.add(name);
    await mkdir(path);
    return {
      path,
      [Symbol.asyncDispose]: async () => {
        await rm(path, { recursive: true, force: true });
        this.#folders.delete(name);
      },
    };
  }

  /** Removes leftovers, and all layers that are neither in `keep` nor held. Returns the layers and bytes freed. */
  async sweep(keep: ReadonlySet<Digest>): Promise<{ layers: number; bytes: number }> {
    for (const name of await readdir(join(this.#root, "incoming"))) {
      if (!this.#folders.has(name))
        await rm(join(this.#root, "incoming", name), { recursive: true, force: true });
    }
    const there = await Promise.all(FOLDERS.map((folder) => readdir(join(this.#root, folder))));
    let layers = 0;
    let bytes = 0;
    for (const hex of new Set(there.flat())) {
      const digest: Digest = `sha256:${hex}`;
      if (keep.has(digest) || this.#holds.has(digest)) continue;
      bytes += await this.#remove(digest);
      layers++;
    }
    return { layers, bytes };
  }

  /** Removes one layer, unless it is held. Returns the bytes freed. */
  async drop(digest: Digest): Promise<number> {
    return this.#holds.has(digest) ? 0 : this.#remove(digest);
  }

  async #remove(digest: Digest): Promise<number> {
    let bytes = 0;
    for (const folder of FOLDERS) {
      const path = join(this.#root, folder, digest.slice("sha256:".length));
      const stat = await lstat(path).catch(() => undefined);
      await rm(path, { recursive: true, force: true });
      bytes += (stat?.blocks ?? 0) * 512;
    }
    return bytes;
  }

  /** All layers that are here, with the bytes that they take on disk. */
  async list(): Promise<{ digest: Digest; bytes: number }[]> {
    const layers = [];
    for (const hex of await readdir(join(this.#root, "trees"))) {
      const sizes = await Promise.all(
        FOLDERS.map((folder) => lstat(join(this.#root, folder, hex)).catch(() => undefined)),
      );
      const digest: Digest = `sha256:${hex}`;
      layers.push({ digest, bytes: sizes.reduce((sum, stat) => sum + (stat?.blocks ?? 0) * 512, 0) });
    }
    return layers;
  }
}

/** What `ingestLayer` calls its files. */
const PART_NAMES = { trees: "tree", recipes: "recipe", blobs: "blob" } as const;

/** A layer's fault, said of which layer. */
function named(error: unknown, what: string, expected: Digest | undefined): unknown {
  if (!(error instanceof SandboxError) || error.code !== "invalid_argument") return error;
  return new SandboxError(error.code, `${what}: ${error.message}`, {
    hint: error.hint,
    details: { ...error.details, ...(expected === undefined ? {} : { layer: expected }) },
    cause: error,
  });
}

async function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () =>
    reject(new SandboxError("cancelled", "waiting for a layer was cancelled", { cause: signal.reason }));
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
