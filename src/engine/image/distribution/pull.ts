/**
 * An image from its registry, ready to run: manifest, policy, configuration, then the layers that are not here, a few at a
 * time, each streaming once from the network through hash, decompression and tar into the store.
 */

import { SandboxError } from "../../../contract/errors.ts";
import type { LayerProgress } from "../../../contract/images.ts";
import type { Digest } from "../digest.ts";
import { hostPlatform } from "../host-platform.ts";
import type { HeldLayer } from "../layer/layer-store.ts";
import { choosePlatform, type Descriptor, type ImageManifest, parseManifest } from "../manifest.ts";
import { type ParsedImage, parseOciImage } from "../oci-image.ts";
import {
  canonicalName,
  familiarName,
  type ImageReference,
  LOCAL_REGISTRY,
  parseReference,
} from "../reference.ts";
import type { ImageStore, StoredImage } from "../store.ts";
import { downloadBlob } from "./blob-download.ts";
import { layerProgress } from "./layer-progress.ts";
import type { ImagePolicy } from "./policy.ts";
import type { Registry } from "./registry.ts";
import type { FetchedManifest, Place, RegistryClient } from "./registry-client.ts";

export interface PullOptions {
  reference: string;
  /** `linux/amd64` and the like. Default: this host's. */
  platform?: string | undefined;
  /** The manifest, or the index that it stands in, must have this digest. */
  digest?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Of each layer, and of what is done in all. */
  onProgress?: ((progress: { task: string; layer?: LayerProgress }) => void) | undefined;
}

export interface PullDependencies {
  store: ImageStore;
  client: RegistryClient;
  policy: ImagePolicy;
}

/** Layers that are fetched at the same time. More would not be faster: unpacking takes a core or two. */
const PARALLEL_LAYERS = 3;
const MAX_INDEX_DEPTH = 2;

/**
 * Errors: `invalid_argument` (reference, digest, whatever is wrong with the image; details name the layer), `not_found`, `unsupported`,
 * `unauthenticated`, `permission_denied` (registry, policy), `unavailable`, `resource_exhausted`, `cancelled`. The store then has
 * at most some whole layers more, which a second attempt need not fetch and a sweep frees.
 */
export async function pullImage(dependencies: PullDependencies, options: PullOptions): Promise<StoredImage> {
  const { store, policy } = dependencies;
  const reference = parseReference(options.reference);
  if (reference.registry === LOCAL_REGISTRY) {
    throw new SandboxError(
      "not_found",
      `${options.reference} is a name of this machine: no registry has it`,
      {
        hint: "Images under msb/ are built, imported or loaded here.",
      },
    );
  }
  const name = familiarName(reference);
  policy.assertAllowed(reference);
  const task = `pulling ${name}`;
  options.onProgress?.({ task });
  const place: Place = { reference, what: task, signal: options.signal };
  const found = await findManifest(dependencies, place, options);
  const { registries } = found.top;
  const { path: repository } = reference;
  await policy.assertSigned(reference, [found.top.digest, found.digest], {
    manifest: (tag) => dependencies.client.manifest(place, tag, registries),
    blob: (digest, size) =>
      dependencies.client.document({
        registries,
        repository,
        descriptor: { mediaType: "", digest, size, annotations: undefined },
        what: `a signature of ${name}`,
        signal: options.signal,
      }),
  });
  const config = await dependencies.client.document({
    registries,
    repository,
    descriptor: found.manifest.config,
    what: `the configuration of ${name}`,
    signal: options.signal,
  });
  const parsed = parseOciImage(config);
  assertFits(parsed, found.manifest, options.platform ?? hostPlatform(), name);

  using _image = store.hold(parsed.digest);
  const layers = await takeLayers(store, options, {
    name,
    repository,
    registries,
    parsed,
    manifest: found.manifest,
  });
  try {
    return await store.addImage({ config, name: nameFor(reference), manifestDigest: found.top.digest });
  } finally {
    for (const layer of layers) layer[Symbol.dispose]();
  }
}

/** By tag, or by digest: then a tag beside it says nothing. */
function nameFor(reference: ImageReference): string {
  return canonicalName(reference.digest === undefined ? reference : { ...reference, tag: undefined });
}

interface Found {
  /** What the reference stands for: an index, if the image is there for several platforms. */
  top: FetchedManifest;
  manifest: ImageManifest;
  digest: Digest;
}

async function findManifest(
  { client }: PullDependencies,
  place: Place,
  options: PullOptions,
): Promise<Found> {
  const { reference } = place;
  const registries = client.withMirrors(reference.registry);
  const top = await client.manifest(place, reference.digest ?? reference.tag!, registries);
  const name = familiarName(reference);
  let at = top;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH; depth++) {
    const parsed = parseManifest(at.bytes, at.mediaType, `the manifest of ${name}`);
    if (parsed.kind === "manifest") {
      assertDigest(options.digest, [top.digest, at.digest], name);
      return { top, manifest: parsed, digest: at.digest };
    }
    const chosen = choosePlatform(parsed.manifests, options.platform ?? hostPlatform(), name);
    at = { ...(await client.manifest(place, chosen.digest, top.registries)), mediaType: chosen.mediaType };
    if (at.bytes.length !== chosen.size) {
      throw new SandboxError(
        "invalid_argument",
        `${name}: the manifest ${chosen.digest} has ${at.bytes.length} bytes, its index says ${chosen.size}`,
      );
    }
  }
  throw new SandboxError(
    "invalid_argument",
    `${name}: an index leads to an index and so on, and to no image`,
  );
}

function assertDigest(expected: string | undefined, found: readonly Digest[], name: string): void {
  if (expected === undefined || found.includes(expected as Digest)) return;
  throw new SandboxError("invalid_argument", `${name} is not ${expected}: the registry has ${found[0]}`, {
    hint: "The name has moved to another image since the digest was written down.",
    details: { expected, found: found[0] },
  });
}

function assertFits(parsed: ParsedImage, manifest: ImageManifest, platform: string, name: string): void {
  if (parsed.layers.length !== manifest.layers.length) {
    throw new SandboxError(
      "invalid_argument",
      `${name} has ${manifest.layers.length} layers, its configuration says ${parsed.layers.length}`,
    );
  }
  const { os, architecture } = parsed.oci;
  if (platform.split("/", 2).join("/") === `${os}/${architecture}`) return;
  throw new SandboxError("not_found", `${name} has no image for ${platform}`, {
    hint: `It is an image for ${os}/${architecture}.`,
  });
}

interface Layers {
  name: string;
  repository: string;
  registries: readonly Registry[];
  parsed: ParsedImage;
  manifest: ImageManifest;
}

/** All layers, here and held. When one fails the others are stopped, and waited for. */
async function takeLayers(store: ImageStore, options: PullOptions, layers: Layers): Promise<HeldLayer[]> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const held: HeldLayer[] = [];
  const waiting = layers.manifest.layers.map((descriptor, i) => ({
    descriptor,
    diffId: layers.parsed.layers[i]!,
  }));
  const progress = layerProgress(`pulling ${layers.name}`, options.onProgress);
  for (const { descriptor } of waiting) progress(descriptor, "waiting", 0);
  const take = async () => {
    for (let next = waiting.shift(); next !== undefined && !signal.aborted; next = waiting.shift()) {
      held.push(await takeLayer(store, layers, next.descriptor, next.diffId, progress, signal));
    }
  };
  let failure: { error: unknown } | undefined;
  const workers = Array.from({ length: PARALLEL_LAYERS }, () =>
    take().catch((error) => {
      failure ??= { error }; // what the others say is only that they were stopped
      stop.abort();
    }),
  );
  await Promise.all(workers);
  if (failure === undefined && !signal.aborted) return held;
  for (const layer of held) layer[Symbol.dispose]();
  throw (
    failure?.error ??
    new SandboxError("cancelled", `pulling ${layers.name} was cancelled`, { cause: signal.reason })
  );
}

async function takeLayer(
  store: ImageStore,
  { name, repository, registries }: Layers,
  descriptor: Descriptor,
  diffId: Digest,
  progress: ReturnType<typeof layerProgress>,
  signal: AbortSignal,
): Promise<HeldLayer> {
  const here = await store.holdLayer(diffId);
  if (here !== undefined) {
    progress(descriptor, "exists", descriptor.size);
    return here;
  }
  const what = `layer ${descriptor.digest} of ${name}`;
  let bytes = 0;
  const source = downloadBlob({
    registries,
    repository,
    descriptor,
    what,
    signal,
    onProgress: (soFar) => {
      bytes = soFar;
      progress(descriptor, "downloading", bytes);
    },
    onRetry: () => progress(descriptor, "retrying", bytes),
  });
  const layer = await store.ingestLayer({ source, expected: diffId, what, signal });
  progress(descriptor, "done", descriptor.size);
  return layer;
}
