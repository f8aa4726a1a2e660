/**
 * Cuts what a step has written in two: what lies below the targets of its cache mounts, and all else, which is the step's layer.
 * The parts are tars of their own and are taken in at the same time as the one stream comes.
 *
 * To the step it was one file system: a hard link may have its names in two parts, as tools make them that install from their cache (pnpm,
 * uv). Such a name becomes a file of its own, once the part that has the contents is here.
 */

import { SandboxError } from "../../contract/index.ts";
import { ByteReader, type ByteString, readTar, TAR_END, type TarEntry } from "../../tar/index.ts";
import { cleanPath, DEFAULT_IMAGE_LIMITS, type HeldLayer, type ImageStore } from "../image/index.ts";
import { type Copied, withCopies } from "./crossing-links.ts";
import { entryPieces } from "./entry-pieces.ts";
import { Pipe } from "./pipe.ts";

/** A layer's tar, at most. */
const MAX_BYTES = 128 * 2 ** 30;

export interface Split {
  /** What the step has made. */
  layer: HeldLayer;
  /** What has become of each target, in their order. */
  caches: HeldLayer[];
}

/** `targets`: real paths below the root. Errors: of the stream and of `ingestLayer`. */
export async function splitChanges(
  store: ImageStore,
  changes: AsyncIterable<Uint8Array>,
  targets: readonly ByteString[],
  what: string,
  signal: AbortSignal | undefined,
): Promise<Split> {
  const names = [what, ...targets.map((target) => `the cache of ${target}`)];
  const pipes = names.map((name) => {
    const pipe = new Pipe();
    const layer = store.ingestLayer({ source: pipe, what: name, signal });
    layer.catch((error) => pipe.fail(error));
    return { pipe, layer };
  });
  const reader = new ByteReader(changes, MAX_BYTES);
  const crossing = new CrossingLinks(targets);
  try {
    for await (const entry of readTar(reader)) {
      const path = cleanPath(entry.path);
      if (crossing.take(entry, path)) continue;
      const { pipe } = pipes[crossing.partOf(path)]!;
      for await (const piece of entryPieces(entry, path)) await pipe.write(piece);
    }
    await reader.drain();
    for (const { pipe } of pipes) {
      await pipe.write(TAR_END);
      pipe.end();
    }
  } catch (error) {
    for (const { pipe } of pipes) pipe.fail(error);
    for (const result of await Promise.allSettled(pipes.map(({ layer }) => layer))) {
      if (result.status === "fulfilled") result.value[Symbol.dispose]();
    }
    throw error;
  } finally {
    await reader.close().catch(() => {});
  }
  const parts = await Promise.all(pipes.map((one) => one.layer));
  const [layer, ...caches] = await crossing.resolve(store, parts, names, signal);
  return { layer: layer!, caches };
}

/** Hard links whose other name is in another part. */
class CrossingLinks {
  readonly #targets: readonly ByteString[];
  readonly #found = new Map<ByteString, ByteString>();

  constructor(targets: readonly ByteString[]) {
    this.#targets = targets;
  }

  /** 0 is the step's layer; of caches within each other the innermost counts. */
  partOf(path: ByteString): number {
    let part = 0;
    for (const [i, target] of this.#targets.entries()) {
      const isWithin = path === target || path.startsWith(`${target}/`);
      if (isWithin && target.length > (this.#targets[part - 1]?.length ?? -1)) part = i + 1;
    }
    return part;
  }

  /** Whether the entry is such a link, which is kept for later. */
  take(entry: TarEntry, path: ByteString): boolean {
    if (entry.type !== "link") {
      this.#found.delete(path);
      return false;
    }
    const named = cleanPath(entry.linkTarget);
    const target = this.#found.get(named) ?? named;
    if (target === named && this.partOf(target) === this.partOf(path)) {
      this.#found.delete(path);
      return false;
    }
    this.#found.set(path, target);
    if (this.#found.size > DEFAULT_IMAGE_LIMITS.maxEntries) {
      throw new SandboxError(
        "invalid_argument",
        "the step has made too many hard links between its caches and its image",
      );
    }
    return true;
  }

  /** The parts with those names as files. Takes the layers over: those that are replaced are let go, on an error all. */
  async resolve(
    store: ImageStore,
    parts: HeldLayer[],
    names: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<HeldLayer[]> {
    const copies = parts.map((): Copied[] => []);
    for (const [path, target] of this.#found) {
      copies[this.partOf(path)]!.push({ path, target, from: parts[this.partOf(target)]!.facts.digest });
    }
    const made: HeldLayer[] = [];
    try {
      for (const [i, part] of parts.entries()) {
        if (copies[i]!.length === 0) continue;
        const source = withCopies(store, part.facts.digest, copies[i]!);
        made.push(await store.ingestLayer({ source, what: names[i]!, signal }));
      }
    } catch (error) {
      for (const layer of [...parts, ...made]) layer[Symbol.dispose]();
      throw error;
    }
    return parts.map((part, i) => {
      if (copies[i]!.length === 0) return part;
      part[Symbol.dispose]();
      return made.shift()!;
    });
  }
}
