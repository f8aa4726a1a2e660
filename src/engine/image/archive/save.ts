/**
 * Images as one tar: an OCI layout (image-spec, image-layout.md), or what `docker save` writes (a `manifest.json` that lists
 * configurations and layers). Layers go in uncompressed, so all sizes and digests are known before, and nothing is kept
 * in memory or in files meanwhile; a layer of several images goes in once.
 */

import { SandboxError } from "../../../contract/errors.ts";
import type { ArchiveFormat } from "../../../contract/images.ts";
import { TAR_END, tarHeader, tarPadding } from "../../../tar/index.ts";
import { type Digest, hexOf, sha256 } from "../digest.ts";
import type { LayerFacts } from "../layer/layer-index.ts";
import { canonicalName, familiarName, parseReference } from "../reference.ts";
import type { ImageStore, StoredImage } from "../store.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";

export interface SaveOptions {
  /** Names or digests; each that is a name keeps it in the archive. */
  names: readonly string[];
  format: ArchiveFormat;
}

interface SavedImage {
  image: StoredImage;
  /** Full names: `docker.io/library/python:3.12`. */
  names: string[];
}

/**
 * The archive, in pieces that are valid until the next is asked for. What can be known before is found out before this resolves.
 *
 * Errors: `not_found`, `invalid_argument`; while it streams, `internal` for a damaged layer.
 */
export async function saveImages(store: ImageStore, options: SaveOptions): Promise<AsyncGenerator<Buffer>> {
  const images = await collect(store, options.names);
  return options.format === "oci" ? ociLayout(store, images) : dockerArchive(store, images);
}

async function collect(store: ImageStore, names: readonly string[]): Promise<SavedImage[]> {
  if (names.length === 0) throw new SandboxError("invalid_argument", "no image was named to be saved");
  const images = new Map<Digest, SavedImage>();
  for (const name of names) {
    const image = await store.get(name);
    const saved = images.get(image.digest) ?? { image, names: [] };
    images.set(image.digest, saved);
    const reference = name.startsWith("sha256:") ? undefined : parseReference(name);
    if (reference?.tag !== undefined) saved.names.push(canonicalName({ ...reference, digest: undefined }));
  }
  return [...images.values()];
}

async function* ociLayout(store: ImageStore, images: readonly SavedImage[]): AsyncGenerator<Buffer> {
  const manifests: Record<string, unknown>[] = [];
  const written = new Set<Digest>();
  yield file("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  for (const { image, names } of images) {
    yield* blobs(store, image, written);
    const manifest = manifestOf(image);
    const digest = sha256(manifest);
    if (!written.has(digest)) yield file(blobPath(digest), manifest);
    written.add(digest);
    const descriptor = { mediaType: MANIFEST, digest, size: manifest.length, platform: platformOf(image) };
    if (names.length === 0) manifests.push(descriptor);
    for (const name of names) {
      // The first is containerd's and holds the whole name; the second is what the specification has, for others.
      const annotations = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": familiarWithTag(name),
      };
      manifests.push({ ...descriptor, annotations });
    }
  }
  yield file("index.json", JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
  yield TAR_END;
}

async function* dockerArchive(store: ImageStore, images: readonly SavedImage[]): AsyncGenerator<Buffer> {
  const written = new Set<Digest>();
  for (const { image } of images) yield* blobs(store, image, written);
  const manifest = images.map(({ image, names }) => ({
    Config: blobPath(image.digest),
    RepoTags: names.length === 0 ? null : names.map(familiarWithTag),
    Layers: image.layers.map(({ digest }) => blobPath(digest)),
  }));
  yield file("manifest.json", JSON.stringify(manifest));
  yield TAR_END;
}

/** Configuration and layers of an image, those that have not been written yet. */
async function* blobs(store: ImageStore, image: StoredImage, written: Set<Digest>): AsyncGenerator<Buffer> {
  if (!written.has(image.digest)) yield file(blobPath(image.digest), image.rawConfig);
  written.add(image.digest);
  for (const { digest, tarBytes } of image.layers) {
    if (written.has(digest)) continue;
    written.add(digest);
    yield header(blobPath(digest), tarBytes);
    yield* store.layerTar(digest);
    yield tarPadding(tarBytes);
  }
}

function manifestOf({ digest, rawConfig, layers }: StoredImage): Buffer {
  const layer = ({ digest, tarBytes }: LayerFacts) => ({ mediaType: LAYER, digest, size: tarBytes });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: CONFIG, digest, size: rawConfig.length },
      layers: layers.map(layer),
    }),
  );
}

function platformOf({ oci }: StoredImage): Record<string, string> {
  const { os, architecture, variant } = oci;
  return { architecture, os, ...(variant ? { variant } : {}) };
}

const blobPath = (digest: Digest) => `blobs/sha256/${hexOf(digest)}`;

/** Docker writes short names, but never without their tag. */
function familiarWithTag(name: string): string {
  const reference = parseReference(name);
  const short = familiarName(reference);
  return reference.tag === "latest" ? `${short}:latest` : short;
}

function header(path: string, size: number): Buffer {
  return tarHeader({ type: "file", path, mode: 0o644, uid: 0, gid: 0, mtime: [0, 0], size });
}

function file(path: string, contents: string | Buffer): Buffer {
  const data = Buffer.from(contents);
  return Buffer.concat([header(path, data.length), data, tarPadding(data.length)]);
}
