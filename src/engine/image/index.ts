/**
 * OCI images: takes layers in, keeps them content-addressed, merges them, and gives an image's root file system as one
 * read-only disk. This room owns the folder `images/` and the EROFS writer. It never unpacks a file of
 * an image onto the host, never needs privileges, and knows no VM.
 */

export { type LoadedImage, loadImages } from "./archive/load.ts";
export { saveImages } from "./archive/save.ts";
export { EMPTY_CONFIG, type ImageConfig, parseOciConfig, toOciConfig } from "./config.ts";
export { type Digest, isDigest, sha256 } from "./digest.ts";
export { CredentialStore } from "./distribution/credentials.ts";
export { ImagePolicy } from "./distribution/policy.ts";
export { type PullOptions, pullImage } from "./distribution/pull.ts";
export { type PushOptions, pushImage } from "./distribution/push.ts";
export { RegistryClient } from "./distribution/registry-client.ts";
export { imageSettingsFile } from "./distribution/settings.ts";
export { SettingsFile } from "./distribution/settings-file.ts";
export { writeDurably } from "./durable.ts";
export { placeholderErofs } from "./erofs/erofs.ts";
export type { RootDisk } from "./erofs/root-disk.ts";
export type { Hold } from "./holds.ts";
export { hostPlatform } from "./host-platform.ts";
export { type ImportOptions, type ImportProgress, importRootfs } from "./import-rootfs.ts";
export type { LayerFacts } from "./layer/layer-index.ts";
export { cleanPath } from "./layer/layer-path.ts";
export type { HeldLayer, IngestLayerOptions } from "./layer/layer-store.ts";
export { DEFAULT_IMAGE_LIMITS, type ImageLimits } from "./limits.ts";
export { FileImageNames, type ImageNames, type NamedImage } from "./names.ts";
export { newOciImage, type OciImage, parseOciImage } from "./oci-image.ts";
export {
  canonicalName,
  familiarName,
  type ImageReference,
  LOCAL_REGISTRY,
  parseReference,
  parseRegistry,
} from "./reference.ts";
export {
  type AddImageOptions,
  ImageStore,
  type ImageStoreOptions,
  type StoredImage,
} from "./store.ts";
export type { StoreUsage, SweepReport } from "./sweep.ts";
export { ImageTree } from "./tree/image-tree.ts";
export { type Directory, type Inode, isDirectory } from "./tree/tree.ts";
export { treeEntry, treeTar } from "./tree/tree-tar.ts";
