/**
 * The images of an OCI layout (image-spec, image-layout.md): `index.json` names manifests, and all else are blobs by digest.
 *
 * Names stand in annotations. containerd's has the whole name; the specification's may be one, or only a tag, which is no name.
 */

import { SandboxError } from "../../../contract/errors.ts";
import { type Digest, hexOf, sha256 } from "../digest.ts";
import { hostPlatform } from "../host-platform.ts";
import {
  choosePlatform,
  type Descriptor,
  type ImageManifest,
  parseIndex,
  parseManifest,
} from "../manifest.ts";
import type { ArchivedImage } from "./docker-manifest.ts";
import type { Archive } from "./read-archive.ts";

const CONTAINERD_NAME = "io.containerd.image.name";
const REF_NAME = "org.opencontainers.image.ref.name";

/** The images for this platform; undefined if the archive has no `index.json`. Errors: `invalid_argument`, `unsupported`. */
export function ociImages(archive: Archive): ArchivedImage[] | undefined {
  const document = archive.document("index.json");
  if (document === undefined) return undefined;
  const images = new Map<Digest, ArchivedImage>();
  for (const descriptor of parseIndex(document, "index.json of the archive")) {
    const { digest, manifest } = manifestOf(archive, descriptor);
    const image = images.get(digest) ?? { ...partsOf(archive, manifest), names: [] };
    images.set(digest, image);
    const name = nameOf(descriptor);
    if (name !== undefined) image.names.push(name);
  }
  if (images.size === 0)
    throw new SandboxError("invalid_argument", "index.json of the archive names no image");
  return [...images.values()];
}

/** The manifest of a descriptor; of an index, that for this platform. */
function manifestOf(archive: Archive, descriptor: Descriptor): { digest: Digest; manifest: ImageManifest } {
  let at = descriptor;
  for (let depth = 0; depth < 2; depth++) {
    const what = `manifest ${at.digest} of the archive`;
    const parsed = parseManifest(blob(archive, at), at.mediaType, what);
    if (parsed.kind === "manifest") return { digest: at.digest, manifest: parsed };
    at = choosePlatform(parsed.manifests, hostPlatform(), what);
  }
  throw new SandboxError("invalid_argument", "an index of the archive leads to another index and no image");
}

function partsOf(archive: Archive, manifest: ImageManifest): Omit<ArchivedImage, "names"> {
  const layers = manifest.layers.map((layer) => {
    const path = blobPath(layer);
    const { digest } = archive.layer(path);
    if (digest !== layer.digest) throw notItself(layer);
    return path;
  });
  return { config: blob(archive, manifest.config), layers };
}

/** A document by its descriptor, checked against it. */
function blob(archive: Archive, descriptor: Descriptor): Buffer {
  const document = archive.document(blobPath(descriptor));
  if (document === undefined) {
    throw new SandboxError(
      "invalid_argument",
      `the archive names ${descriptor.digest}, which it does not hold`,
    );
  }
  if (sha256(document) !== descriptor.digest) throw notItself(descriptor);
  return document;
}

const blobPath = ({ digest }: Descriptor) => `blobs/sha256/${hexOf(digest)}`;

function nameOf({ annotations = {} }: Descriptor): string | undefined {
  const whole = annotations[CONTAINERD_NAME];
  if (whole !== undefined) return whole;
  const name = annotations[REF_NAME];
  return name !== undefined && /[:/]/.test(name) ? name : undefined;
}

function notItself({ digest }: Descriptor): SandboxError {
  return new SandboxError("invalid_argument", `${digest} of the archive is not what its digest says`, {
    hint: "The archive is damaged or was tampered with. Do not use it.",
  });
}
