/**
 * The images of this machine: layers, manifests, root disks and names, in one folder.
 *
 *     blobs/ trees/    layers (layer-store.ts)
 *     manifests/<hex>  what an image is made of (manifest.ts)
 *     disks/<hex>/     an image as a VM gets it (root-disk.ts), made when first needed
 *     names/           which image a name means (names.ts)
 *     incoming/        work under way
 *
 * All but the names is content-addressed, written beside and renamed. One process at a time owns the folder.
 */

import { lstat, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../contract/errors.ts";
import type { DiskDescriptorWriter } from "../disk/index.ts";
import { EMPTY_CONFIG, type ImageConfig } from "./config.ts";
import { type Digest, hexOf, isDigest } from "./digest.ts";
import { PARTIAL_SUFFIX, syncDirectory, writeDurably } from "./durable.ts";
import { buildRootDisk, findRootDisk, type RootDisk } from "./erofs/root-disk.ts";
import { Holds, LayerStore } from "./layer/layer-store.ts";
import { DEFAULT_IMAGE_LIMITS, type ImageLimits } from "./limits.ts";
import { decodeManifest, encodeManifest, type ImageManifest, type ManifestLayer } from "./manifest.ts";
import { FileImageNames, type ImageNames } from "./names.ts";
import { canonicalName, familiarName, parseReference } from "./reference.ts";
import { Serial } from "./serial.ts";
import { storing } from "./storage-error.ts";

export interface ImageStoreOptions {
  /** The store's folder; made if it is missing. */
  directory: string;
  /** Writes the descriptor that joins an image's files into one disk: `vmdkDescriptor` of the disk room. */
  describeDisk: DiskDescriptorWriter;
  /** Where names are kept; files in the store's folder unless told. */
  names?: ImageNames;
  limits?: Partial<ImageLimits>;
}

/** An image of the store. */
export interface StoredImage {
  digest: Digest;
  /** Its names, short and sorted: `python:3.12`, `msb/python`. None for an image that was replaced or removed by name. */
  names: string[];
  config: ImageConfig;
  /** Lowest first. */
  layers: ManifestLayer[];
  /** Bytes of the contents of its layers. Layers may be shared with other images. */
  sizeBytes: number;
  /** When it was first given one of its names, milliseconds of Unix time; 0 for an image without a name. */
  namedAtMs: number;
}

export interface ImportProgress {
  /** `ingest`: the archive streams in. `disk`: the root disk is being made. */
  phase: "ingest" | "disk";
  /** Uncompressed bytes of the archive so far. */
  bytes: number;
  entries: number;
}

export interface ImportOptions {
  /** The root file system as a tar: plain, gzip or zstd. */
  stream: AsyncIterable<Uint8Array>;
  name: string;
  /** What is left out is empty. */
  config?: Partial<ImageConfig>;
  onProgress?: (progress: ImportProgress) => void;
  signal?: AbortSignal;
}

export interface SweepReport {
  images: number;
  layers: number;
  disks: number;
  freedBytes: number;
}

export class ImageStore {
  readonly #directory: string;
  readonly #describeDisk: DiskDescriptorWriter;
  readonly #names: ImageNames;
  readonly #limits: ImageLimits;
  readonly #layers: LayerStore;
  /** Images that are being used or made just now. */
  readonly #holds = new Holds();
  readonly #disksUnderWay = new Map<Digest, Promise<RootDisk>>();
  /** Giving names and sweeping exclude each other: an image must not vanish between its manifest and its name. */
  readonly #changes = new Serial();

  private constructor(options: ImageStoreOptions) {
    this.#directory = options.directory;
    this.#describeDisk = options.describeDisk;
    this.#names = options.names ?? new FileImageNames(join(options.directory, "names"));
    this.#limits = { ...DEFAULT_IMAGE_LIMITS, ...options.limits };
    this.#layers = new LayerStore(options.directory, this.#limits);
  }

  /** Opens the store. Errors: `permission_denied`, `resource_exhausted`, `internal`. */
  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    const store = new ImageStore(options);
    await storing("opening the image store", async () => {
      for (const folder of ["manifests", "disks"]) {
        await mkdir(join(options.directory, folder), { recursive: true, mode: 0o755 });
      }
      await store.#layers.open();
    });
    return store;
  }

  /**
   * Takes in a root file system as an image of one layer, makes its root disk, and gives it `name`. An image that had
   * the name before keeps all but the name. After an error the store is as it was (but for what a sweep frees).
   *
   * Errors: `invalid_argument` (name, archive), `unsupported` (compression), `cancelled`, `resource_exhausted`.
   */
  async importRootfs(options: ImportOptions): Promise<StoredImage> {
    const name = canonicalName(parseReference(options.name));
    const what = `importing ${options.name}`;
    let progress: ImportProgress = { phase: "ingest", bytes: 0, entries: 0 };
    const { layer, hold } = await storing(what, () =>
      this.#layers.ingest({
        source: options.stream,
        signal: options.signal,
        onProgress: (bytes, entries) => {
          progress = { phase: "ingest", bytes, entries };
          options.onProgress?.(progress);
        },
      }),
    );
    using _layerHold = hold;
    if (layer.entries === 0) {
      throw new SandboxError("invalid_argument", `the archive for ${options.name} is empty`, {
        hint: "Give a tar archive of a root file system.",
      });
    }
    const { digest, tarBytes, blobBytes, entries } = layer;
    const manifest: ImageManifest = {
      format: 1,
      layers: [{ digest, tarBytes, blobBytes, entries }],
      config: { ...EMPTY_CONFIG, ...options.config },
    };
    options.onProgress?.({ ...progress, phase: "disk" });
    const image = await this.#addImage(manifest, name);
    return this.#toStored(image, manifest);
  }

  /** Stores a manifest whose layers are here and held, makes its disk, and names it. */
  async #addImage(manifest: ImageManifest, name: string): Promise<Digest> {
    const { digest, text } = encodeManifest(manifest);
    using _hold = this.#holds.hold(digest);
    await this.#rootDisk(digest, manifest); // layers that do not merge are found out before the image has a name
    await this.#changes.run(() =>
      storing(`storing the image ${name}`, async () => {
        await writeDurably(this.#manifestPath(digest), text, 0o644);
        await this.#names.set({ name, digest, namedAtMs: Date.now() });
      }),
    );
    return digest;
  }

  /** An image by name or digest. Errors: `not_found`, naming it and listing what there is; `invalid_argument`. */
  async get(nameOrDigest: string): Promise<StoredImage> {
    const digest = await this.#resolve(nameOrDigest);
    const manifest = await this.#manifest(digest);
    if (manifest === undefined) throw await this.#unknown(nameOrDigest);
    return this.#toStored(digest, manifest);
  }

  /** All images, also those without a name, by first name. Damaged ones are left out; `get` says what ails them. */
  async list(): Promise<StoredImage[]> {
    const images: StoredImage[] = [];
    for (const digest of await this.#digests("manifests")) {
      const manifest = await this.#manifest(digest).catch(() => undefined);
      if (manifest !== undefined) images.push(await this.#toStored(digest, manifest));
    }
    const key = ({ names, digest }: StoredImage) => names[0] ?? `~${digest}`;
    return images.sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  /**
   * Takes a name from its image, or all names from a digest's. What no name and no sandbox needs any more goes with the
   * next sweep. Errors: `not_found`, `invalid_argument`.
   */
  async remove(nameOrDigest: string): Promise<void> {
    await this.#changes.run(async () => {
      const digest = await this.#resolve(nameOrDigest);
      if (!isDigest(nameOrDigest)) {
        await this.#names.delete(canonicalName(parseReference(nameOrDigest)));
        return;
      }
      for (const named of await this.#names.list()) {
        if (named.digest === digest) await this.#names.delete(named.name);
      }
    });
  }

  /**
   * The image's root disk, made when it is asked for the first time, once however many ask. Its files are looked at
   * every time.
   *
   * Errors: `not_found`, `internal` for a damaged disk or layer, `resource_exhausted`.
   */
  async rootDisk(nameOrDigest: string): Promise<RootDisk> {
    const digest = await this.#resolve(nameOrDigest);
    using _hold = this.#holds.hold(digest);
    const found = await findRootDisk(this.#diskPath(digest), digest);
    if (found !== undefined) return found;
    const manifest = await this.#manifest(digest);
    if (manifest === undefined) throw await this.#unknown(nameOrDigest);
    return this.#rootDisk(digest, manifest);
  }

  #rootDisk(digest: Digest, manifest: ImageManifest): Promise<RootDisk> {
    let underWay = this.#disksUnderWay.get(digest);
    if (underWay === undefined) {
      underWay = storing(`making the root disk of image ${digest}`, () =>
        this.#makeDisk(digest, manifest),
      ).finally(() => this.#disksUnderWay.delete(digest));
      this.#disksUnderWay.set(digest, underWay);
    }
    return underWay;
  }

  async #makeDisk(digest: Digest, manifest: ImageManifest): Promise<RootDisk> {
    const path = this.#diskPath(digest);
    const there = await findRootDisk(path, digest);
    if (there !== undefined) return there;
    await using incoming = await this.#layers.newFolder();
    const directory = join(incoming.path, "disk");
    await buildRootDisk({
      manifest,
      directory,
      indexPath: (layer) => this.#layers.indexPath(layer),
      blobPath: (layer) => this.#layers.blobPath(layer),
      describe: this.#describeDisk,
      limits: this.#limits,
    });
    await syncDirectory(directory);
    await rename(directory, path);
    await syncDirectory(join(this.#directory, "disks"));
    return (await findRootDisk(path, digest))!;
  }

  /**
   * Frees what nothing refers to: half-written leftovers of a crash, images without a name that are not in `inUse`, and
   * layers and disks of no image. Safe beside imports and starts. To be called at start, and to prune.
   */
  async sweep(options: { inUse: Iterable<Digest> }): Promise<SweepReport> {
    return this.#changes.run(() =>
      storing("sweeping the image store", () => this.#sweep(new Set(options.inUse))),
    );
  }

  async #sweep(keep: Set<Digest>): Promise<SweepReport> {
    const report: SweepReport = { images: 0, layers: 0, disks: 0, freedBytes: 0 };
    if (this.#names instanceof FileImageNames) await this.#names.sweep();
    for (const { digest } of await this.#names.list()) keep.add(digest);
    const isKept = (digest: Digest) => keep.has(digest) || this.#holds.has(digest);

    const layers = new Set<Digest>();
    for (const file of await readdir(join(this.#directory, "manifests"))) {
      const digest: Digest = `sha256:${file}`;
      const manifest = isDigest(digest) ? await this.#manifest(digest).catch(() => undefined) : undefined;
      if (isKept(digest)) {
        for (const layer of manifest?.layers ?? []) layers.add(layer.digest);
        continue;
      }
      await rm(join(this.#directory, "manifests", file), { force: true });
      if (!file.endsWith(PARTIAL_SUFFIX)) report.images++;
    }
    for (const file of await readdir(join(this.#directory, "disks"))) {
      if (isKept(`sha256:${file}`)) continue;
      report.freedBytes += await this.#removeDisk(join(this.#directory, "disks", file));
      report.disks++;
    }
    const freed = await this.#layers.sweep(layers);
    report.layers = freed.layers;
    report.freedBytes += freed.bytes;
    return report;
  }

  /** Removes a root disk; returns its own bytes, without those of the layers. */
  async #removeDisk(path: string): Promise<number> {
    await using incoming = await this.#layers.newFolder();
    const metadata = await lstat(join(path, "meta.erofs")).catch(() => undefined);
    await rename(path, join(incoming.path, "disk")); // gone at once, not file by file
    return (metadata?.blocks ?? 0) * 512;
  }

  async #resolve(nameOrDigest: string): Promise<Digest> {
    if (isDigest(nameOrDigest)) return nameOrDigest;
    const named = await this.#names.get(canonicalName(parseReference(nameOrDigest)));
    if (named === undefined) throw await this.#unknown(nameOrDigest);
    return named.digest;
  }

  async #manifest(digest: Digest): Promise<ImageManifest | undefined> {
    try {
      return decodeManifest(await readFile(this.#manifestPath(digest), "utf8"), digest);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  async #toStored(digest: Digest, manifest: ImageManifest): Promise<StoredImage> {
    const named = (await this.#names.list()).filter((image) => image.digest === digest);
    return {
      digest,
      names: named.map(({ name }) => familiarName(parseReference(name))),
      namedAtMs: named.length === 0 ? 0 : Math.min(...named.map((image) => image.namedAtMs)),
      config: manifest.config,
      layers: manifest.layers,
      sizeBytes: manifest.layers.reduce((sum, { blobBytes }) => sum + blobBytes, 0),
    };
  }

  async #unknown(nameOrDigest: string): Promise<SandboxError> {
    const names = (await this.#names.list()).map(({ name }) => familiarName(parseReference(name)));
    const shown =
      names.length > 10 ? `${names.slice(0, 10).join(", ")} and ${names.length - 10} more` : names.join(", ");
    return new SandboxError("not_found", `there is no image ${JSON.stringify(nameOrDigest)}`, {
      hint: names.length === 0 ? "There are no images yet: import one." : `The images there are: ${shown}.`,
      details: { image: nameOrDigest },
    });
  }

  async #digests(folder: string): Promise<Digest[]> {
    const files = await readdir(join(this.#directory, folder));
    return files.map((file) => `sha256:${file}`).filter(isDigest);
  }

  #manifestPath(digest: Digest): string {
    return join(this.#directory, "manifests", hexOf(digest));
  }

  #diskPath(digest: Digest): string {
    return join(this.#directory, "disks", hexOf(digest));
  }
}
