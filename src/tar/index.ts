/**
 * Tar archives as streams: reading, decompressing, writing; and names as bytes, which all of that is about. For the engine (layers,
 * archives of images) and the SDK (files of a sandbox). Knows no file system: what an entry means is its caller's to say.
 */

export { ByteReader, type Tap } from "./byte-reader.ts";
export { type ByteString, fromBytes, show, toBytes } from "./byte-string.ts";
export { decompress } from "./decompress.ts";
export { MAX_FILE_BYTES } from "./limits.ts";
export { readTar, type TarEntry, type TarType } from "./tar.ts";
export type { SparseExtent } from "./tar-sparse.ts";
export { headerOf, TAR_END, type TarHeader, tarHeader, tarPadding } from "./tar-writer.ts";
