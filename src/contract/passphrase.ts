/**
 * The passphrase of an exported snapshot, as it goes in a header beside the file: base64url of its UTF-8. This file imports nothing, so
 * that clients that start fast can load it.
 */

export const PASSPHRASE_HEADER = "msb-passphrase";
/** More is no passphrase. */
export const MAX_PASSPHRASE_BYTES = 1024;
