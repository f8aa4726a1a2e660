/**
 * An image to a registry. Layers are compressed anew (what they were compressed with is not kept), into a file first: so their digest
 * is known before, a registry that has one already is not sent it again, and a broken upload can begin again.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { constants, createGzip } from "node:zlib";
import { SandboxError } from "../../../contract/errors.ts";
import type { LayerProgress } from "../../../contract/images.ts";
import { storing } from "../../storage-error.ts";
import { type Digest, sha256 } from "../digest.ts";
import type { LayerFacts } from "../layer/layer-index.ts";
import { MEDIA_TYPES } from "../manifest.ts";
import {
  canonicalName,
  familiarName,
  type ImageReference,
  LOCAL_REGISTRY,
  parseReference,
} from "../reference.ts";
import type { ImageStore, StoredImage } from "../store.ts";
import { layerProgress } from "./layer-progress.ts";
import type { Registry } from "./registry.ts";
import type { RegistryClient } from "./registry-client.ts";
import { discard } from "./transport.ts";

export interface PushOptions {
  /** Name or digest of a stored image. */
  name: string;
  /** Where to. Default: what the name says. */
  reference?: string | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: { task: string; layer?: LayerProgress }) => void) | undefined;
}

export interface PushDependencies {
  store: ImageStore;
  client: RegistryClient;
}

interface Upload {
  registry: Registry;
  repository: string;
  scope: string;
  signal: AbortSignal | undefined;
}

const MAX_UPLOADS = 3;
// Twice as fast as zlib's default, and hardly larger.
const GZIP_LEVEL = 4;

/**
 * @returns where it went and the digest of its manifest, by which it can be pulled
 * @throws `not_found`, `invalid_argument`, `unauthenticated`, `permission_denied`, `unavailable`, `resource_exhausted`, `cancelled`
 */
export async function pushImage(
  { store, client }: PushDependencies,
  options: PushOptions,
): Promise<{ reference: string; digest: Digest }> {
  const image = await store.get(options.name);
  const reference = targetOf(options);
  using _hold = store.hold(image.digest);
  const name = familiarName(reference);
  const task = `pushing ${name}`;
  options.onProgress?.({ task });
  const upload: Upload = {
    registry: client.registry(reference.registry),
    repository: reference.path,
    scope: `repository:${reference.path}:pull,push`,
    signal: options.signal,
  };
  const progress = layerProgress(task, options.onProgress);
  const layers = [];
  // One after the other: compressing takes the cores that there are.
  for (const layer of image.layers) layers.push(await pushLayer(store, upload, layer, name, progress));
  await putBlob(
    upload,
    image.digest,
    image.rawConfig.length,
    `the configuration of ${name}`,
    () => image.rawConfig,
  );
  const digest = await putManifest(upload, image, layers, reference);
  await store.setManifestDigest(canonicalName(reference), digest);
  return { reference: name, digest };
}

function targetOf({ name, reference }: PushOptions): ImageReference {
  const target = parseReference(reference ?? name);
  if (target.registry === LOCAL_REGISTRY) {
    throw new SandboxError(
      "invalid_argument",
      `${name} is a name of this machine: it says no registry to push to`,
      {
        hint: `Say where to: msb push ${name} HOST/NAME:TAG`,
      },
    );
  }
  if (target.tag === undefined) {
    throw new SandboxError(
      "invalid_argument",
      `${reference ?? name} cannot be pushed to: it has a digest in place of a tag`,
    );
  }
  return { ...target, digest: undefined };
}

async function pushLayer(
  store: ImageStore,
  upload: Upload,
  layer: LayerFacts,
  name: string,
  progress: ReturnType<typeof layerProgress>,
) {
  const what = `layer ${layer.digest} of ${name}`;
  await using folder = await store.newFolder();
  const file = join(folder.path, "layer");
  const about = { digest: layer.digest, size: layer.tarBytes };
  progress(about, "waiting", 0);
  const { digest, size } = await storing(`compressing ${what}`, () =>
    compress(store.layerTar(layer.digest), file, upload.signal),
  );
  const sized = { digest: layer.digest, size };
  const isThere = await putBlob(upload, digest, size, what, () =>
    reading(file, (bytes) => progress(sized, "uploading", bytes)),
  );
  progress(sized, isThere ? "exists" : "done", size);
  return { mediaType: MEDIA_TYPES.ociGzipLayer, digest, size };
}

async function compress(
  tar: AsyncIterable<Uint8Array>,
  path: string,
  signal: AbortSignal | undefined,
): Promise<{ digest: Digest; size: number }> {
  const gzip = createGzip({
    level: GZIP_LEVEL,
    chunkSize: 256 * 1024,
    strategy: constants.Z_DEFAULT_STRATEGY,
  });
  const hash = createHash("sha256");
  await using file = await open(path, "wx", 0o600);
  let size = 0;
  const source = Readable.from(tar, { objectMode: false });
  source.on("error", (error) => gzip.destroy(error));
  try {
    for await (const chunk of source.pipe(gzip) as AsyncIterable<Buffer>) {
      if (signal?.aborted)
        throw new SandboxError("cancelled", "compressing a layer was cancelled", { cause: signal.reason });
      hash.update(chunk);
      for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten;
      size += chunk.length;
    }
  } finally {
    // A full disk ends this too: what reads the layer must not stay open.
    source.destroy();
  }
  return { digest: `sha256:${hash.digest("hex")}`, size };
}

async function* reading(path: string, onBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) {
    yield chunk as Buffer;
    bytes += (chunk as Buffer).length;
    onBytes(bytes);
  }
}

/** Sends a blob unless the registry has it; true if it had. */
async function putBlob(
  { registry, repository, scope, signal }: Upload,
  digest: Digest,
  size: number,
  what: string,
  contents: () => Buffer | AsyncIterable<Uint8Array>,
): Promise<boolean> {
  const common = { scope, what, signal };
  const head = await registry.send({ ...common, method: "HEAD", target: `${repository}/blobs/${digest}` });
  await discard(head);
  if (head.status === 200) return true;
  for (let attempt = 1; ; attempt++) {
    try {
      const begun = await registry.expect([202], {
        ...common,
        method: "POST",
        target: `${repository}/blobs/uploads/`,
        headers: { "content-length": "0" },
      });
      await discard(begun);
      const target = locationOf(begun.headers.location, begun.url, what);
      target.searchParams.set("digest", digest);
      const done = await registry.expect([201], {
        ...common,
        method: "PUT",
        target,
        headers: { "content-type": "application/octet-stream", "content-length": String(size) },
        body: contents(),
      });
      await discard(done);
      return false;
    } catch (error) {
      const mayRetry = error instanceof SandboxError && error.code === "unavailable" && !signal?.aborted;
      if (!mayRetry || attempt === MAX_UPLOADS) throw error;
      await registry.sleep(registry.backoffMs(attempt), signal, what);
    }
  }
}

function locationOf(location: string | string[] | undefined, from: URL, what: string): URL {
  const url = typeof location === "string" ? URL.parse(location, from.href) : null;
  if (url === null || (from.protocol === "https:" && url.protocol !== "https:")) {
    throw new SandboxError("unavailable", `${what}: the registry does not say where to send it`);
  }
  return url;
}

async function putManifest(
  { registry, repository, scope, signal }: Upload,
  image: StoredImage,
  layers: object[],
  reference: ImageReference,
): Promise<Digest> {
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: MEDIA_TYPES.ociConfig, digest: image.digest, size: image.rawConfig.length },
      layers,
    }),
  );
  const what = `the manifest of ${familiarName(reference)}`;
  const answer = await registry.expect([201], {
    method: "PUT",
    target: `${repository}/manifests/${reference.tag}`,
    scope,
    headers: { "content-type": MEDIA_TYPES.ociManifest },
    body: manifest,
    what,
    signal,
  });
  await discard(answer);
  const digest = sha256(manifest);
  const claimed = answer.headers["docker-content-digest"];
  if (typeof claimed === "string" && claimed !== digest) {
    throw new SandboxError("unavailable", `${what}: the registry stored something else: ${claimed}`);
  }
  return digest;
}
