/** The root disks of the store's images, `disks/<hex>/`, each made when it is first needed, once however many ask. */

import { lstat, mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import type { DiskDescriptorWriter } from "../../disk/index.ts";
import { storing } from "../../storage-error.ts";
import { syncPath } from "../../sync-path.ts";
import { type Digest, hexOf, isDigest } from "../digest.ts";
import type { LayerStore } from "../layer/layer-store.ts";
import type { ImageLimits } from "../limits.ts";
import type { Quota } from "../quota.ts";
import { type BuildOptions, buildRootDisk, findRootDisk, type RootDisk } from "./root-disk.ts";

export interface RootDisksOptions {
  directory: string;
  layers: LayerStore;
  describe: DiskDescriptorWriter;
  limits: ImageLimits;
  quota: Quota;
}

/** What a disk is made of. */
export type DiskContents = Pick<BuildOptions, "layers" | "directories">;

export class RootDisks {
  readonly #options: RootDisksOptions;
  readonly #underWay = new Map<Digest, Promise<RootDisk>>();

  constructor(options: RootDisksOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o755 });
  }

  /** The disk if it has been made. Errors: `internal` for a damaged one. */
  find(image: Digest): Promise<RootDisk | undefined> {
    return findRootDisk(this.#path(image), image);
  }

  /** The disk, made if it has not been. Errors: `invalid_argument` for layers that do not merge, `internal`, `resource_exhausted`. */
  make(image: Digest, contents: DiskContents): Promise<RootDisk> {
    let underWay = this.#underWay.get(image);
    if (underWay === undefined) {
      underWay = storing(`making the root disk of image ${image}`, () => this.#make(image, contents)).finally(
        () => this.#underWay.delete(image),
      );
      this.#underWay.set(image, underWay);
    }
    return underWay;
  }

  async #make(image: Digest, contents: DiskContents): Promise<RootDisk> {
    const { layers: store, describe, limits, quota } = this.#options;
    const there = await this.find(image);
    if (there !== undefined) return there;
    await using incoming = await store.newFolder();
    using charge = quota.open(`the root disk of image ${image}`);
    const directory = join(incoming.path, "disk");
    await buildRootDisk({
      ...contents,
      directory,
      indexPath: (layer) => store.indexPath(layer),
      blobPath: (layer) => store.blobPath(layer),
      describe,
      limits,
      charge: charge.add,
    });
    await syncPath(directory);
    await rename(directory, this.#path(image));
    await syncPath(this.#options.directory);
    charge.keep();
    return (await this.find(image))!;
  }

  async list(): Promise<Digest[]> {
    const folders = await readdir(this.#options.directory);
    return folders.map((folder) => `sha256:${folder}`).filter(isDigest);
  }

  /** A disk's own bytes, without those of the layers. */
  async ownBytes(image: Digest): Promise<number> {
    const metadata = await lstat(join(this.#path(image), "meta.erofs")).catch(() => undefined);
    return (metadata?.blocks ?? 0) * 512;
  }

  /** Removes a disk; returns its own bytes. */
  async remove(image: Digest): Promise<number> {
    await using incoming = await this.#options.layers.newFolder();
    const bytes = await this.ownBytes(image);
    await rename(this.#path(image), join(incoming.path, "disk")); // gone at once, not file by file
    return bytes;
  }

  #path(image: Digest): string {
    return join(this.#options.directory, hexOf(image));
  }
}
