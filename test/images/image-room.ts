import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vmdkDescriptor } from "../../src/engine/disk/index.ts";
import {
  ImagePolicy,
  ImageStore,
  imageSettingsFile,
  type PullOptions,
  pullImage,
  RegistryClient,
  type StoredImage,
} from "../../src/engine/image/index.ts";
import { storedTree } from "./stored-tree.ts";
import type { SeenTree } from "./tree.ts";

export interface ImageRoomOptions {
  /** `registries` of images.json. */
  registries?: Record<string, object>;
  /** What every registry is told. Default: nothing. */
  user?: { name: string; password: string };
}

/** A store and a client for registries without an engine around them, in a folder that goes with them. */
export class ImageRoom implements AsyncDisposable {
  readonly folder: string;
  readonly store: ImageStore;
  readonly client: RegistryClient;
  readonly policy: ImagePolicy;

  private constructor(folder: string, store: ImageStore, client: RegistryClient) {
    this.folder = folder;
    this.store = store;
    this.client = client;
    this.policy = new ImagePolicy(join(folder, "policy.json"));
  }

  static async open({ registries = {}, user }: ImageRoomOptions = {}): Promise<ImageRoom> {
    const folder = await mkdtemp(join(tmpdir(), "msb-room-"));
    const settings = join(folder, "images.json");
    await writeFile(settings, JSON.stringify({ registries }));
    const store = await ImageStore.open({ directory: join(folder, "images"), describeDisk: vmdkDescriptor });
    const known = user && { username: user.name, password: user.password };
    const client = new RegistryClient({
      settings: imageSettingsFile(settings),
      credentials: { find: async () => known },
      env: {},
    });
    return new ImageRoom(folder, store, client);
  }

  pull(reference: string, options: Omit<PullOptions, "reference"> = {}): Promise<StoredImage> {
    return pullImage(this, { ...options, reference });
  }

  async treeOf(image: string): Promise<SeenTree> {
    await using tree = await this.store.openTree(image);
    return await storedTree(tree);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}
