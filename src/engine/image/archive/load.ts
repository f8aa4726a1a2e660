/** Images from one tar, as `docker save`, `skopeo`, `podman save`, `buildah` and `msb save` write them, or of an OCI layout. */

import { SandboxError } from "../../../contract/errors.ts";
import { sha256 } from "../digest.ts";
import { parseOciImage } from "../oci-image.ts";
import { canonicalName, familiarName, LOCAL_REGISTRY, parseReference } from "../reference.ts";
import type { ImageStore, StoredImage } from "../store.ts";
import { type ArchivedImage, dockerImages } from "./docker-manifest.ts";
import { ociImages } from "./oci-layout.ts";
import { type Archive, type ReadArchiveOptions, readArchive } from "./read-archive.ts";

/** An image that was loaded, under one of the names that it came with. */
export interface LoadedImage {
  image: StoredImage;
  /** Short: `python:3.12`. */
  name: string;
}

/**
 * Loads all images of an archive for this platform, each under the names that the archive has for it; one that has none
 * is called `msb/loaded:` and the first digits of its digest, so that it can be found. Layers that are here are not stored again.
 *
 * Errors: `invalid_argument` (no such archive, parts missing or damaged), `unsupported`, `cancelled`, `resource_exhausted`.
 */
export async function loadImages(store: ImageStore, options: ReadArchiveOptions): Promise<LoadedImage[]> {
  using archive = await readArchive(store, options);
  const images = dockerImages(archive) ?? ociImages(archive);
  if (images === undefined) {
    throw new SandboxError(
      "invalid_argument",
      "the archive holds no images: it has neither manifest.json nor index.json",
      {
        hint: "For the tar of a root file system there is: msb import FILE NAME",
      },
    );
  }
  const loaded: LoadedImage[] = [];
  for (const image of images) loaded.push(...(await loadImage(store, archive, image)));
  return loaded;
}

async function loadImage(
  store: ImageStore,
  archive: Archive,
  archived: ArchivedImage,
): Promise<LoadedImage[]> {
  const { config } = archived;
  const parsed = parseOciImage(config);
  const found = archived.layers.map((path) => archive.layer(path).layer.facts.digest);
  if (found.length !== parsed.layers.length) {
    throw new SandboxError(
      "invalid_argument",
      `image ${parsed.digest} of the archive has ${found.length} layers, its configuration says ${parsed.layers.length}`,
    );
  }
  for (const [i, digest] of parsed.layers.entries()) {
    if (found[i] === digest) continue;
    throw new SandboxError(
      "invalid_argument",
      `layer ${i + 1} of image ${parsed.digest} is not the one that its configuration names`,
      {
        hint: "The archive is damaged or was tampered with. Do not use it.",
        details: { layer: digest, found: found[i] },
      },
    );
  }
  const names = archived.names.map((name) => canonicalName(parseReference(name)));
  if (names.length === 0) names.push(`${LOCAL_REGISTRY}/loaded:${sha256(config).slice(7, 19)}`);
  const loaded: LoadedImage[] = [];
  for (const name of new Set(names)) {
    const image = await store.addImage({ config, name });
    loaded.push({ image, name: familiarName(parseReference(name)) });
  }
  return loaded;
}
