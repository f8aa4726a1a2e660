import { type ByteString, fromBytes, TAR_END, tarHeader } from "../../tar/index.ts";
import {
  type Digest,
  type HeldLayer,
  type ImageStore,
  type ImageTree,
  sha256,
  treeTar,
} from "../image/index.ts";
import type { BuildCache } from "./build-cache.ts";
import type { CacheMount } from "./dockerfile/instruction.ts";
import { wrong } from "./dockerfile/position.ts";
import { splitChanges } from "./split-changes.ts";

/**
 * `RUN --mount=type=cache`: a folder whose contents outlive the build. There is nothing to mount in a VM that has no volumes; so a
 * cache is a few layers that lie on top of the step's image while it runs, the lowest of which hides what the image has there. What the
 * step has changed below the target becomes one more of them; what it has changed elsewhere is the step's layer.
 *
 * A cache belongs to its id and its place in the image; a step has it for itself.
 */

/** More layers than this are made one. */
const MAX_LAYERS = 8;

export interface MountedCache {
  key: string;
  /** Real path below the root. */
  target: ByteString;
  layers: HeldLayer[];
}

/** Serializes the use of caches, by key. */
export class CacheLocks {
  readonly #last = new Map<string, Promise<void>>();

  /** Waits for all of them; in one order, so that two steps never wait for each other. */
  async acquire(keys: readonly string[]): Promise<Disposable> {
    const released = Promise.withResolvers<void>();
    for (const key of [...new Set(keys)].sort()) {
      const before = this.#last.get(key) ?? Promise.resolve();
      const mine = before.then(() => released.promise);
      this.#last.set(key, mine);
      void mine.then(() => {
        if (this.#last.get(key) === mine) this.#last.delete(key);
      });
      await before;
    }
    return { [Symbol.dispose]: () => released.resolve() };
  }
}

/** Where a mount goes, and under which key its contents are kept. */
export function placeOf(
  mount: CacheMount,
  expanded: { target: string; id: string | undefined },
  image: ImageTree,
): { key: string; target: ByteString } {
  const asked = fromBytes(Buffer.from(expanded.target));
  const target = (image.lookup(asked)?.path ?? asked)
    .split("/")
    .filter((name) => name !== "" && name !== ".")
    .join("/");
  if (target === "" || target.split("/").includes("..")) {
    throw wrong(mount.at, `a cache cannot be mounted at ${JSON.stringify(expanded.target)}`);
  }
  return { key: JSON.stringify([expanded.id ?? expanded.target, target]), target };
}

/** The layers of a cache, made if there are none yet. The caller lets go of them. */
export async function openCache(
  store: ImageStore,
  cache: BuildCache,
  mount: CacheMount,
  place: { key: string; target: ByteString },
): Promise<MountedCache> {
  const layers: HeldLayer[] = [];
  for (const digest of await cache.mount(place.key)) {
    const layer = await store.holdLayer(digest);
    if (layer !== undefined) {
      layers.push(layer);
      continue;
    }
    // One that is not whole is begun anew.
    for (const held of layers.splice(0)) held[Symbol.dispose]();
    break;
  }
  if (layers.length === 0)
    layers.push(await store.ingestLayer({ source: emptyCache(mount, place.target), what: "an empty cache" }));
  return { ...place, layers };
}

/** A directory that hides what lies below it. */
async function* emptyCache(
  { mode = 0o755, uid = 0, gid = 0 }: CacheMount,
  target: ByteString,
): AsyncGenerator<Buffer> {
  const mtime = [0, 0] as const;
  yield tarHeader({ type: "directory", path: target, mode, uid, gid, mtime });
  yield tarHeader({ type: "file", path: `${target}/.wh..wh..opq`, mode: 0, uid: 0, gid: 0, mtime, size: 0 });
  yield TAR_END;
}

/** Takes in what a step with caches has written: its layer is returned, the caches are kept. */
export async function takeChanges(
  store: ImageStore,
  cache: BuildCache,
  caches: readonly MountedCache[],
  changes: AsyncIterable<Uint8Array>,
  what: string,
  signal: AbortSignal | undefined,
): Promise<HeldLayer> {
  if (caches.length === 0) return store.ingestLayer({ source: changes, what, signal });
  const split = await splitChanges(
    store,
    changes,
    caches.map(({ target }) => target),
    what,
    signal,
  );
  try {
    for (const [i, mounted] of caches.entries()) {
      const delta = split.caches[i]!;
      if (delta.facts.entries > 0) await keep(store, cache, mounted, delta);
    }
    return split.layer;
  } catch (error) {
    split.layer[Symbol.dispose]();
    throw error;
  } finally {
    for (const delta of split.caches) delta[Symbol.dispose]();
  }
}

async function keep(
  store: ImageStore,
  cache: BuildCache,
  mounted: MountedCache,
  delta: HeldLayer,
): Promise<void> {
  const layers: Digest[] = [...mounted.layers, delta].map(({ facts }) => facts.digest);
  if (layers.length <= MAX_LAYERS) return cache.keepMount(mounted.key, layers);
  await using tree = await store.openLayers(layers);
  using flat = await store.ingestLayer({ source: treeTar(tree), what: "a cache" });
  await cache.keepMount(mounted.key, [layers[0]!, flat.facts.digest]);
}

/** For the key of a step: which caches it uses says nothing of what it makes, that it uses them does. */
export function mountsKey(mounts: readonly CacheMount[]): string {
  return sha256(JSON.stringify(mounts.map(({ target, id }) => [target, id ?? null])));
}
