/**
 * Cuts what a step has written in two: what lies below the targets of its cache mounts, and all else, which is the step's layer.
 * Both halves are tars of their own and are taken in at the same time as the one stream comes.
 */

import {
  ByteReader,
  type ByteString,
  cleanPath,
  type HeldLayer,
  headerOf,
  type ImageStore,
  readTar,
  TAR_END,
  type TarEntry,
  tarHeader,
  tarPadding,
} from "../image/index.ts";

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
  const pipes = [what, ...targets.map((target) => `the cache of ${target}`)].map((name) => {
    const pipe = new Pipe();
    const layer = store.ingestLayer({ source: pipe, what: name, signal });
    layer.catch((error) => pipe.fail(error));
    return { pipe, layer };
  });
  const reader = new ByteReader(changes, MAX_BYTES);
  try {
    for await (const entry of readTar(reader)) {
      const path = cleanPath(entry.path);
      const target = targets.findIndex((one) => path === one || path.startsWith(`${one}/`));
      await copyEntry(entry, path, pipes[target + 1]!.pipe);
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
  const [layer, ...caches] = await Promise.all(pipes.map((one) => one.layer));
  return { layer: layer!, caches };
}

async function copyEntry(entry: TarEntry, path: ByteString, pipe: Pipe): Promise<void> {
  await pipe.write(tarHeader(headerOf(entry, path === "" ? "." : path)));
  let bytes = 0;
  for await (const piece of entry.body()) {
    bytes += piece.length;
    await pipe.write(Buffer.from(piece));
  }
  await pipe.write(tarPadding(bytes));
}

/** Hands pieces from a writer to a reader, one at a time. */
class Pipe implements AsyncIterable<Uint8Array> {
  #offered = Promise.withResolvers<Uint8Array | undefined>();
  #taken = Promise.withResolvers<void>();
  #failure: { error: unknown } | undefined;

  constructor() {
    this.#offered.promise.catch(() => {});
    this.#taken.promise.catch(() => {});
  }

  /** Waits until the reader has taken the piece. Rejects when either end has failed. */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (piece.length === 0) return;
    const { promise } = this.#taken;
    this.#offered.resolve(piece);
    await promise;
  }

  end(): void {
    this.#offered.resolve(undefined);
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#offered.reject(error);
    this.#taken.reject(error);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = await this.#offered.promise;
      if (piece === undefined) return;
      const { resolve } = this.#taken;
      this.#offered = Promise.withResolvers();
      this.#taken = Promise.withResolvers();
      this.#offered.promise.catch(() => {});
      this.#taken.promise.catch(() => {});
      yield piece;
      resolve();
    }
  }
}
