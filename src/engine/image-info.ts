import type { ImageDetail, ImageHistoryEntry, ImageInfo } from "../contract/index.ts";
import { familiarName, parseReference, type StoredImage } from "./image/index.ts";

/** A stored image under one of its names, or under none. */
export function imageInfo(image: StoredImage, name: string): ImageInfo {
  const known = name === "" ? undefined : knownDigest(image, name);
  return {
    name,
    digest: image.digest,
    ...(known === undefined ? {} : { manifestDigest: known }),
    sizeBytes: image.sizeBytes,
    createdAt: new Date(image.namedAtMs || Date.parse(image.oci.created ?? "") || 0).toISOString(),
  };
}

/** By which the registry of `name` knows the image. */
function knownDigest(image: StoredImage, name: string): string | undefined {
  const repository = familiarName({ ...parseReference(name), tag: undefined, digest: undefined });
  const known = image.manifestDigests.find((one) => one.startsWith(`${repository}@`));
  return known?.slice(repository.length + 1);
}

/** All that is known of an image; `sandboxes`: the names of those that stand on it. */
export function imageDetail(image: StoredImage, sandboxes: string[]): ImageDetail {
  const { oci } = image;
  return {
    digest: image.digest,
    names: image.names,
    manifestDigests: image.manifestDigests,
    ...(oci.created ? { created: oci.created } : {}),
    ...(oci.author ? { author: oci.author } : {}),
    platform: {
      os: oci.os,
      architecture: oci.architecture,
      ...(oci.variant ? { variant: oci.variant } : {}),
    },
    config: image.config,
    layers: image.layers.map(({ digest, tarBytes, blobBytes, entries }) => ({
      digest,
      tarBytes,
      sizeBytes: blobBytes,
      entries,
    })),
    history: historyOf(image),
    sizeBytes: image.sizeBytes,
    sandboxes,
  };
}

/** The steps as the configuration tells them, with the layers that they made. Layers that no step tells of come last. */
function historyOf({ oci, layers }: StoredImage): ImageHistoryEntry[] {
  const left = [...layers];
  const ofLayer = (layer: (typeof layers)[number] | undefined) =>
    layer === undefined ? { sizeBytes: 0 } : { layer: layer.digest, sizeBytes: layer.tarBytes };
  const told = (oci.history ?? []).map((step) => ({
    ...(step.created ? { created: step.created } : {}),
    ...(step.created_by ? { createdBy: step.created_by } : {}),
    ...(step.author ? { author: step.author } : {}),
    ...(step.comment ? { comment: step.comment } : {}),
    ...ofLayer(step.empty_layer ? undefined : left.shift()),
  }));
  return [...told, ...left.map(ofLayer)];
}
