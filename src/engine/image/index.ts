/**
 * OCI images: takes layers in, keeps them content-addressed, merges them, and gives an image's root file system as one
 * read-only disk. This room owns the folder `images/`, the tar reader and the EROFS writer. It never unpacks a file of
 * an image onto the host, never needs privileges, and knows no VM.
 */

export { EMPTY_CONFIG, type ImageConfig, parseOciConfig } from "./config.ts";
export { type Digest, isDigest } from "./digest.ts";
export { placeholderErofs } from "./erofs/erofs.ts";
export type { RootDisk } from "./erofs/root-disk.ts";
export { DEFAULT_IMAGE_LIMITS, type ImageLimits } from "./limits.ts";
export type { ManifestLayer } from "./manifest.ts";
export { FileImageNames, type ImageNames, type NamedImage } from "./names.ts";
export {
  canonicalName,
  familiarName,
  type ImageReference,
  LOCAL_REGISTRY,
  parseReference,
} from "./reference.ts";
export {
  ImageStore,
  type ImageStoreOptions,
  type ImportOptions,
  type ImportProgress,
  type StoredImage,
  type SweepReport,
} from "./store.ts";
