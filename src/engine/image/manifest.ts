/**
 * What the store keeps of an image: its layers, lowest first, and its configuration. The manifest's bytes are canonical
 * (keys sorted, no blanks), and their sha256 is the image's digest: the same layers and configuration are the same
 * image, whenever and from wherever they came.
 */

import { z } from "zod";
import { SandboxError } from "../../contract/errors.ts";
import { imageConfigSchema } from "./config.ts";
import { type Digest, isDigest, sha256 } from "./digest.ts";
import { LAYER_FORMAT } from "./layer/layer-index.ts";

const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "must be a digest");
const byteCount = z.int().min(0);

const manifestSchema = z.object({
  format: z.literal(LAYER_FORMAT),
  layers: z
    .array(
      z.object({
        /** sha256 of the layer's uncompressed tar. */
        digest,
        tarBytes: byteCount,
        blobBytes: byteCount.multipleOf(4096),
        entries: byteCount,
      }),
    )
    .min(1)
    // As many as Docker and containerd allow.
    .max(127),
  config: imageConfigSchema,
});

export type ImageManifest = z.infer<typeof manifestSchema>;
export type ManifestLayer = ImageManifest["layers"][number];

/** The canonical bytes of a manifest, as text, and their digest. Errors: `invalid_argument`. */
export function encodeManifest(manifest: ImageManifest): { digest: Digest; text: string } {
  const checked = manifestSchema.safeParse(manifest);
  if (!checked.success) {
    const issue = checked.error.issues[0]!;
    throw new SandboxError(
      "invalid_argument",
      `the image is invalid: ${issue.path.join(".")}: ${issue.message}`,
    );
  }
  const text = JSON.stringify(sorted(checked.data));
  return { digest: sha256(text), text };
}

/** Decodes a stored manifest and checks it against its digest. Errors: `internal`. */
export function decodeManifest(text: string, expected: Digest): ImageManifest {
  try {
    if (sha256(text) !== expected) throw new Error("its digest is another one");
    return manifestSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new SandboxError("internal", `the stored manifest of image ${expected} is damaged`, {
      hint: "Remove the image, and import or pull it again.",
      cause: error,
    });
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
