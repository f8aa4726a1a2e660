import type { Digest, HeldLayer, ImageStore, ImageTree } from "../image/index.ts";

/** What a build holds on to until it ends: images and layers that no sweep may take, and trees that are open. */
export class Resources implements AsyncDisposable {
  readonly #store: ImageStore;
  readonly #held: Disposable[] = [];
  readonly #trees = new Map<string, Promise<ImageTree>>();

  constructor(store: ImageStore) {
    this.#store = store;
  }

  holdImage(image: Digest): void {
    this.#held.push(this.#store.hold(image));
  }

  /** From here on the build's to let go. */
  keep(layer: HeldLayer): void {
    this.#held.push(layer);
  }

  /** The merged file system of layers; opened once. */
  tree(layers: readonly Digest[]): Promise<ImageTree> {
    const key = layers.join();
    let tree = this.#trees.get(key);
    if (tree === undefined) {
      tree = this.#store.openLayers(layers);
      tree.catch(() => {});
      this.#trees.set(key, tree);
    }
    return tree;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tree of this.#trees.values())
      await (await tree.catch(() => undefined))?.[Symbol.asyncDispose]();
    for (const held of this.#held) held[Symbol.dispose]();
  }
}
