/**
 * How large all files that a spec brings along may be together: with base64 around them they still fit into one message of a stream,
 * which has at most 1 MiB. This file imports nothing, so that clients that start fast can load it.
 */
export const MAX_INLINE_BYTES = 512 * 1024;
