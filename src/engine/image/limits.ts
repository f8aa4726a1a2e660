/**
 * What an image may cost. A layer is a stranger's file: each number below bounds time, memory or disk, and
 * passing it is `invalid_argument`, naming the entry. The defaults are several times what large public images need.
 */
export interface ImageLimits {
  /** Entries of one layer, and inodes and names of one merged tree. About 400 bytes of memory each when merged. */
  maxEntries: number;
  /** Bytes of one layer's uncompressed tar. */
  maxLayerBytes: number;
  /** Bytes that one layer's file contents take on the joined device, holes within sparse chunks included. */
  maxBlobBytes: number;
  /** Bytes of an image's file system metadata. */
  maxMetadataBytes: number;
}

export const DEFAULT_IMAGE_LIMITS: ImageLimits = {
  maxEntries: 1_000_000,
  maxLayerBytes: 128 * 2 ** 30,
  maxBlobBytes: 4 * 2 ** 40,
  maxMetadataBytes: 512 * 2 ** 20,
};

/** A whole path, in bytes: Linux's PATH_MAX. Nothing in the guest could name a longer one. */
export const MAX_PATH_BYTES = 4095;
/** One name, in bytes: NAME_MAX, and EROFS_NAME_LEN. */
export const MAX_NAME_BYTES = 255;
/** Directories within each other; a path of MAX_PATH_BYTES cannot name more. */
export const MAX_DEPTH = 2048;
/** All extended attributes of one inode as EROFS stores them, in bytes. */
export const MAX_XATTR_BYTES = 65_532;
