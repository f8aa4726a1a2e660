/**
 * The images of this machine: layers, configurations, root disks and names, in one folder.
 *
 *     blobs/ recipes/ trees/   layers (layer/layer-store.ts)
 *     configs/<hex>            what an image is made of and how it is run (configs.ts)
 *     disks/<hex>/             an image as a VM gets it (erofs/root-disk.ts), made when first needed
 *     names/                   which image a name means (names.ts)
 *     incoming/                work under way
 *
 * All but the names is content-addressed, written beside and renamed. One process at a time owns the folder.
 */

import { join } from "node:path";
import { SandboxError } from "../../contract/errors.ts";
import type { DiskDescriptorWriter } from "../disk/index.ts";
import { storing } from "../storage-error.ts";
import type { ImageConfig } from "./config.ts";
import { ConfigFiles, type StoredConfig } from "./configs.ts";
import { type Digest, isDigest } from "./digest.ts";
import type { RootDisk } from "./erofs/root-disk.ts";
import { RootDisks } from "./erofs/root-disks.ts";
import { type Hold, Holds } from "./holds.ts";
import type { LayerFacts } from "./layer/layer-index.ts";
import { type HeldLayer, type IngestLayerOptions, LayerStore } from "./layer/layer-store.ts";
import { DEFAULT_IMAGE_LIMITS, type ImageLimits } from "./limits.ts";
import { FileImageNames, type ImageNames, type NamedImage } from "./names.ts";
import { type OciImage, parseOciImage } from "./oci-image.ts";
import { Quota } from "./quota.ts";
import { canonicalName, familiarName, parseReference } from "./reference.ts";
import { Serial } from "./serial.ts";
import { measure, type StoreUsage, type SweepReport, sweep, usageOf } from "./sweep.ts";
import { ImageTree } from "./tree/image-tree.ts";

export interface ImageStoreOptions {
  /** The store's folder; made if it is missing. */
  directory: string;
  /** Writes the descriptor that joins an image's files into one disk: `vmdkDescriptor` of the disk room. */
  describeDisk: DiskDescriptorWriter;
  /** Where names are kept; files in the store's folder unless told. */
  names?: ImageNames;
  limits?: Partial<ImageLimits>;
  /** Bytes that the store may take on disk, asked anew each time. Default: no limit. */
  quotaBytes?: () => number | undefined;
  /** Layers that others need, whatever images there are. */
  otherLayers?: () => Promise<Iterable<Digest>>;
}

/** An image of the store. */
export interface StoredImage {
  /** sha256 of its OCI configuration. */
  digest: Digest;
  /** Its names, short and sorted: `python:3.12`, `msb/python`. None for an image that was replaced or removed by name. */
  names: string[];
  /** Name and digest by which registries know it: `python@sha256:…`. */
  manifestDigests: string[];
  config: ImageConfig;
  oci: OciImage;
  /** The OCI configuration, byte for byte. */
  rawConfig: Buffer;
  /** Lowest first. */
  layers: LayerFacts[];
  /** Bytes of the contents of its layers. Layers may be shared with other images. */
  sizeBytes: number;
  /** When it was first given one of its names, milliseconds of Unix time; 0 for an image without a name. */
  namedAtMs: number;
}

export interface AddImageOptions {
  /** The OCI configuration; its layers are in the store and held by the caller. */
  config: Uint8Array;
  /** Its reference. Takes the name from the image that had it. Default: none. */
  name?: string | undefined;
  /** By which the name's registry knows the image. */
  manifestDigest?: Digest | undefined;
}

export class ImageStore {
  readonly directory: string;
  readonly #names: ImageNames;
  readonly #quota: Quota;
  readonly #layers: LayerStore;
  readonly #configs: ConfigFiles;
  readonly #disks: RootDisks;
  readonly #otherLayers: () => Promise<Iterable<Digest>>;
  /** Images that are being used or made just now. */
  readonly #holds = new Holds();
  /** Giving names and sweeping exclude each other: an image must not vanish between its configuration and its name. */
  readonly #changes = new Serial();

  private constructor(options: ImageStoreOptions) {
    const { directory } = options;
    const limits = { ...DEFAULT_IMAGE_LIMITS, ...options.limits };
    this.directory = directory;
    this.#names = options.names ?? new FileImageNames(join(directory, "names"));
    this.#quota = new Quota(options.quotaBytes ?? (() => undefined));
    this.#layers = new LayerStore(directory, limits, this.#quota);
    this.#configs = new ConfigFiles(join(directory, "configs"));
    this.#disks = new RootDisks({
      directory: join(directory, "disks"),
      layers: this.#layers,
      describe: options.describeDisk,
      limits,
      quota: this.#quota,
    });
    this.#otherLayers = options.otherLayers ?? (async () => []);
  }

  /** Opens the store. Errors: `permission_denied`, `resource_exhausted`, `internal`. */
  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    const store = new ImageStore(options);
    await storing("opening the image store", async () => {
      await Promise.all([store.#layers.open(), store.#configs.open(), store.#disks.open()]);
      store.#quota.set(await measure(store.#parts));
    });
    return store;
  }

  /** A layer that is here, kept from sweeps until it is let go; undefined if it is not here. */
  holdLayer(layer: Digest): Promise<HeldLayer | undefined> {
    return this.#layers.hold(layer);
  }

  /**
   * Takes a layer in: a tar, plain, gzip or zstd. See `LayerStore.ingest`.
   *
   * Errors: `invalid_argument` naming the layer and the entry, `unsupported` (compression), `cancelled`, `resource_exhausted`.
   */
  ingestLayer(options: IngestLayerOptions): Promise<HeldLayer> {
    return storing(`taking in ${options.what}`, () => this.#layers.ingest(options));
  }

  /** The exact tar of a layer, in pieces that are valid until the next. Errors: `not_found`, `internal` for a damaged one. */
  layerTar(layer: Digest): AsyncGenerator<Buffer> {
    return this.#layers.tar(layer);
  }

  /**
   * Stores an image of layers that are here and held by the caller, makes its root disk, and gives it its name. An image without a
   * name lasts as long as somebody holds it or a sandbox stands on it.
   *
   * Errors: `invalid_argument` (configuration, layers that do not merge), `not_found` (a layer), `resource_exhausted`.
   */
  async addImage({ config, name, manifestDigest }: AddImageOptions): Promise<StoredImage> {
    const parsed = parseOciImage(config);
    const { digest } = parsed;
    using _hold = this.#holds.hold(digest);
    const layers = await this.#layerFacts(parsed.layers);
    if (layers.length === 0) throw new SandboxError("invalid_argument", "an image needs at least one layer");
    await this.#disks.make(digest, { layers, directories: parsed.config.volumes }); // layers that do not merge are found out before the image has a name
    const full = name === undefined ? undefined : canonicalName(parseReference(name));
    await this.#changes.run(() =>
      storing(`storing the image ${full ?? digest}`, async () => {
        await this.#configs.put(digest, config);
        if (full !== undefined) {
          const named: NamedImage = { name: full, digest, namedAtMs: Date.now() };
          await this.#names.set(manifestDigest === undefined ? named : { ...named, manifestDigest });
        }
      }),
    );
    return await this.#toStored({ ...parsed, rawConfig: Buffer.from(config) }, layers);
  }

  /** Keeps an image from sweeps, also one that is only about to be added. */
  hold(image: Digest): Hold {
    return this.#holds.hold(image);
  }

  /** Forgets an image that has no name and that nobody holds; its layers go with a sweep. Others it leaves alone. */
  async drop(image: Digest): Promise<void> {
    await this.#changes.run(async () => {
      if (this.#holds.has(image) || (await this.#namesOf(image)).length > 0) return;
      await this.#configs.remove(image);
      if ((await this.#disks.list()).includes(image)) await this.#disks.remove(image);
    });
  }

  /** Removes a layer that no image, nobody who holds it and nothing else needs. Others it leaves alone. */
  async dropLayer(layer: Digest): Promise<void> {
    await this.#changes.run(async () => {
      for (const image of await this.#configs.list()) {
        const config = await this.#configs.get(image).catch(() => undefined);
        if (config?.layers.includes(layer)) return;
      }
      if (new Set(await this.#otherLayers()).has(layer)) return;
      this.#quota.free(await this.#layers.drop(layer));
    });
  }

  /** An image by name or digest. Errors: `not_found`, naming it and listing what there is; `invalid_argument`; `internal` for a damaged one. */
  async get(nameOrDigest: string): Promise<StoredImage> {
    const config = await this.#configOf(nameOrDigest);
    return this.#toStored(config, await this.#layerFacts(config.layers));
  }

  /** All images, also those without a name, by first name. Damaged ones are left out; `get` says what ails them. */
  async list(): Promise<StoredImage[]> {
    const images: StoredImage[] = [];
    for (const digest of await this.#configs.list()) {
      const image = await this.get(digest).catch(() => undefined);
      if (image !== undefined) images.push(image);
    }
    const key = ({ names, digest }: StoredImage) => names[0] ?? `~${digest}`;
    return images.sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  /** Gives an image another name. Errors: `not_found`, `invalid_argument` for a name with a digest. */
  async tag(nameOrDigest: string, target: string): Promise<StoredImage> {
    const reference = parseReference(target);
    if (reference.digest !== undefined) {
      throw new SandboxError(
        "invalid_argument",
        `an image cannot be given the name ${target}: a digest is not chosen`,
        {
          hint: "Give a name and a tag, as my/image:1.0.",
        },
      );
    }
    await this.#changes.run(async () => {
      const { digest } = await this.#configOf(nameOrDigest);
      await this.#names.set({ name: canonicalName(reference), digest, namedAtMs: Date.now() });
    });
    return this.get(target);
  }

  /** Remembers by which digest the registry of a name knows its image: after a push. */
  async setManifestDigest(name: string, manifestDigest: Digest): Promise<void> {
    await this.#changes.run(async () => {
      const named = await this.#names.get(canonicalName(parseReference(name)));
      if (named !== undefined) await this.#names.set({ ...named, manifestDigest });
    });
  }

  /**
   * Takes a name from its image, or all names from a digest's. What no name and no sandbox needs any more goes with the
   * next sweep. Errors: `not_found`, `invalid_argument`.
   */
  async remove(nameOrDigest: string): Promise<void> {
    await this.#changes.run(async () => {
      const digest = await this.#resolve(nameOrDigest);
      const named = isDigest(nameOrDigest) ? undefined : await this.#named(nameOrDigest);
      for (const { name } of named === undefined ? await this.#namesOf(digest) : [named]) {
        await this.#names.delete(name);
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
    const found = await this.#disks.find(digest);
    if (found !== undefined) return found;
    const { layers, config } = await this.get(nameOrDigest);
    return await this.#disks.make(digest, { layers, directories: config.volumes });
  }

  /** A folder for work under way, swept after a crash; removed when disposed of. */
  newFolder(): Promise<AsyncDisposable & { path: string }> {
    return this.#layers.newFolder();
  }

  /** The image's merged file system, to be read. Errors: as `get`. */
  async openTree(nameOrDigest: string): Promise<ImageTree> {
    const { layers } = await this.#configOf(nameOrDigest);
    return this.openLayers(layers);
  }

  /** The merged file system of layers that are here, lowest first. Errors: `not_found`, `invalid_argument` if they do not merge. */
  openLayers(layers: readonly Digest[]): Promise<ImageTree> {
    return ImageTree.open(this.#layers, layers);
  }

  /**
   * Frees what nothing refers to: half-written leftovers of a crash, images without a name that are not in `inUse`, and
   * layers and disks of no image. Safe beside imports and starts. To be called at start, and to prune.
   */
  sweep(options: { inUse: Iterable<Digest> }): Promise<SweepReport> {
    return this.#changes.run(() =>
      storing("sweeping the image store", () => sweep(this.#parts, new Set(options.inUse))),
    );
  }

  /** Where the space went. `inUse`: images that sandboxes stand on. */
  usage(options: { inUse: Iterable<Digest> }): Promise<StoreUsage> {
    return usageOf(this.#parts, new Set(options.inUse));
  }

  get #parts() {
    return {
      names: this.#names,
      layers: this.#layers,
      configs: this.#configs,
      disks: this.#disks,
      holds: this.#holds,
      quota: this.#quota,
      otherLayers: this.#otherLayers,
    };
  }

  async #configOf(nameOrDigest: string): Promise<StoredConfig> {
    const config = await this.#configs.get(await this.#resolve(nameOrDigest));
    if (config === undefined) throw await this.#unknown(nameOrDigest);
    return config;
  }

  async #layerFacts(layers: readonly Digest[]): Promise<LayerFacts[]> {
    const facts = await Promise.all(layers.map((layer) => this.#layers.facts(layer)));
    return facts.map((found, i) => {
      if (found !== undefined) return found;
      throw new SandboxError("internal", `layer ${layers[i]} is missing from the store`, {
        hint: "Remove the images that use this layer, and import or pull them again.",
      });
    });
  }

  async #resolve(nameOrDigest: string): Promise<Digest> {
    if (isDigest(nameOrDigest)) return nameOrDigest;
    const named = await this.#named(nameOrDigest);
    if (named === undefined) throw await this.#unknown(nameOrDigest);
    return named.digest;
  }

  /** A name, or `name@digest` of an image whose registry knows it by that digest, whatever its tag. */
  async #named(name: string): Promise<NamedImage | undefined> {
    const reference = parseReference(name);
    const named = await this.#names.get(canonicalName(reference));
    if (named !== undefined || reference.digest === undefined) return named;
    const { registry, path, digest } = reference;
    return (await this.#names.list()).find((other) => {
      const theirs = parseReference(other.name);
      return theirs.registry === registry && theirs.path === path && other.manifestDigest === digest;
    });
  }

  async #namesOf(digest: Digest): Promise<NamedImage[]> {
    return (await this.#names.list()).filter((named) => named.digest === digest);
  }

  async #toStored(config: StoredConfig, layers: LayerFacts[]): Promise<StoredImage> {
    const { digest, oci, rawConfig } = config;
    const named = await this.#namesOf(digest);
    const known = named.filter(({ manifestDigest }) => manifestDigest !== undefined);
    return {
      digest,
      names: named.map(({ name }) => familiarName(parseReference(name))),
      manifestDigests: [
        ...new Set(
          known.map(({ name, manifestDigest }) =>
            familiarName({ ...parseReference(name), tag: undefined, digest: manifestDigest }),
          ),
        ),
      ],
      namedAtMs: named.length === 0 ? 0 : Math.min(...named.map((image) => image.namedAtMs)),
      config: config.config,
      oci,
      rawConfig,
      layers,
      sizeBytes: layers.reduce((sum, { blobBytes }) => sum + blobBytes, 0),
    };
  }

  async #unknown(nameOrDigest: string): Promise<SandboxError> {
    const names = (await this.list()).flatMap((image) => image.names);
    const shown =
      names.length > 10 ? `${names.slice(0, 10).join(", ")} and ${names.length - 10} more` : names.join(", ");
    return new SandboxError("not_found", `there is no image ${JSON.stringify(nameOrDigest)}`, {
      hint:
        names.length === 0
          ? "There are no images yet: pull or import one."
          : `The images there are: ${shown}.`,
      details: { image: nameOrDigest },
    });
  }
}
