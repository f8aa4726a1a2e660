/** Content digests in OCI's spelling (image-spec, descriptor.md, "Digests"). Only sha256 is in use here. */

import { createHash } from "node:crypto";

export type Digest = `sha256:${string}`;

export function isDigest(value: string): value is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(value);
}

export function sha256(data: string | Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

/** The digest's hex digits: its name in a folder. (A colon in a path reads as a protocol to QEMU.) */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}
