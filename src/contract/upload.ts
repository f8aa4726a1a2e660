/**
 * What goes beside a body that is a tar and nothing else: headers that carry base64 of JSON. This file imports nothing, so that
 * clients that start fast can load it.
 */

/** The OCI image config of an import. */
export const IMAGE_CONFIG_HEADER = "x-msb-image-config";
/** The `BuildRequest` of a build. */
export const BUILD_REQUEST_HEADER = "x-msb-build-request";
/** Bytes of JSON that such a header may carry; as base64 they fit into the 128 KiB that the daemon reads of headers. */
export const MAX_HEADER_JSON_BYTES = 64 * 1024;
