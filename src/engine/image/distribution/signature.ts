/**
 * Signatures of images as `cosign sign --key` makes them, checked with the public key.
 *
 * The signature of the manifest `sha256:<hex>` is an image of its own in the same repository, with the tag `sha256-<hex>.sig`. Each of its
 * layers is a small document that names the signed digest ("simple signing"), and an annotation holds the signature of that
 * document's bytes. Sources: cosign, specs/SIGNATURE_SPEC.md; containers/image, docs/containers-signature.5.md.
 *
 * What is checked: the signature, by one of the keys (ECDSA, Ed25519 or RSA with SHA-256), over the document as it came, whose digest
 * the signature's manifest names; and that the document names the digest that is being pulled. What is not: the name in the document (one that
 * signs an image vouches for it under any name), time, and everything keyless: certificates of Fulcio and the log of Rekor need roots of
 * trust that are fetched from the network, and are not supported.
 */

import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import { type Digest, hexOf, isDigest } from "../digest.ts";
import type { FetchedManifest } from "./registry-client.ts";

const MAX_SIGNATURES = 64;
const MAX_DOCUMENT_BYTES = 64 * 1024;
const PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION = "dev.cosignproject.cosign/signature";

const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value));
const signatureManifest = z.object({
  layers: z
    .array(
      z.object({
        mediaType: z.string(),
        digest,
        size: z.int().min(1),
        annotations: z.record(z.string(), z.string()).nullish(),
      }),
    )
    .max(MAX_SIGNATURES),
});
const payload = z.object({
  critical: z.object({
    type: z.literal("cosign container image signature"),
    image: z.object({ "docker-manifest-digest": digest }),
  }),
});

/** Gives a manifest of the same repository by its tag. Errors: `not_found` if there is none. */
export type FetchTagged = (tag: string) => Promise<FetchedManifest>;

/** Gives a blob of the same repository, checked. */
export type FetchBlob = (digest: Digest, size: number) => Promise<Buffer>;

/** Public keys in PEM. Errors: `invalid_argument` naming the file. */
export async function readKeys(paths: readonly string[]): Promise<KeyObject[]> {
  const keys: KeyObject[] = [];
  for (const path of paths) {
    try {
      keys.push(createPublicKey(await readFile(path)));
    } catch (cause) {
      throw new SandboxError("invalid_argument", `${path} holds no public key that can be read`, {
        hint: "policy.json names it. A key is PEM text that begins with -----BEGIN PUBLIC KEY-----.",
        cause,
      });
    }
  }
  return keys;
}

/**
 * Looks for a signature of the manifest `signed` by one of the keys.
 *
 * @returns undefined if there is one, else what is wrong
 * @throws what the registry said, unless it only has no signature
 */
export async function verifySignatures(
  signed: Digest,
  keys: readonly KeyObject[],
  fetch: { manifest: FetchTagged; blob: FetchBlob },
): Promise<string | undefined> {
  const found = await fetch.manifest(`sha256-${hexOf(signed)}.sig`).catch((error: unknown) => {
    if (error instanceof SandboxError && error.code === "not_found") return undefined;
    throw error;
  });
  if (found === undefined) return "it has no signature";
  const manifest = signatureManifest.safeParse(parseJson(found.bytes));
  if (!manifest.success) return "its signature cannot be read";
  let reason = "it has no signature";
  for (const layer of manifest.data.layers) {
    const signature = layer.annotations?.[ANNOTATION];
    if (layer.mediaType !== PAYLOAD_TYPE || signature === undefined || layer.size > MAX_DOCUMENT_BYTES)
      continue;
    const document = await fetch.blob(layer.digest, layer.size);
    if (!keys.some((key) => isSignedBy(key, document, signature))) {
      reason = "no signature of it is by one of the keys";
      continue;
    }
    const said = payload.safeParse(parseJson(document));
    if (said.success && said.data.critical.image["docker-manifest-digest"] === signed) return undefined;
    reason = "what is signed is another image";
  }
  return reason;
}

function isSignedBy(key: KeyObject, document: Buffer, signature: string): boolean {
  const algorithm = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  try {
    return verify(algorithm, document, key, Buffer.from(signature, "base64"));
  } catch {
    return false; // a signature of another kind of key
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
