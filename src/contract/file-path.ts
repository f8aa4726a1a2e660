/**
 * How a path stands in JSON and in queries: as text or, when its bytes are no UTF-8, as this and base64 of them. This file imports
 * nothing, so that clients that start fast can load it.
 */
export const BASE64_PATH = "base64:";
