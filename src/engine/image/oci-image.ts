/**
 * An image's OCI configuration: what it is made of and how it is run. It is kept byte for byte, since its sha256 is the image's
 * digest, here as with Docker: the same layers and configuration are the same image, wherever they came from.
 *
 * Format: OCI image-spec, config.md; Docker's is the same with more fields. It is a stranger's JSON: at most
 * MAX_CONFIG_BYTES, 127 layers, 4,096 steps of history. What is not known is kept in the bytes and ignored.
 */

import { z } from "zod";
import { SandboxError } from "../../contract/errors.ts";
import { EMPTY_CONFIG, type ImageConfig, parseOciConfig, toOciConfig } from "./config.ts";
import { type Digest, isDigest, sha256 } from "./digest.ts";
import { hostPlatform } from "./host-platform.ts";

/** Docker and containerd read no larger ones. */
export const MAX_CONFIG_BYTES = 8 * 1024 * 1024;
/** As many layers as Docker and containerd allow. */
export const MAX_LAYERS = 127;

const line = z.string().max(64 * 1024);
const digest = z.custom<Digest>(
  (value) => typeof value === "string" && isDigest(value),
  "must be a sha256 digest",
);

const schema = z.looseObject({
  created: line.nullish(),
  author: line.nullish(),
  os: z.string().max(64),
  architecture: z.string().max(64),
  variant: z.string().max(64).nullish(),
  config: z.looseObject({}).nullish(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(digest).max(MAX_LAYERS) }),
  history: z
    .array(
      z.object({
        created: line.nullish(),
        created_by: line.nullish(),
        author: line.nullish(),
        comment: line.nullish(),
        empty_layer: z.boolean().nullish(),
      }),
    )
    .max(4096)
    .nullish(),
});

/** The configuration as its JSON has it, with all that we do not know. */
export type OciImage = z.infer<typeof schema>;

export interface ParsedImage {
  /** The image's own digest: the sha256 of the bytes. */
  digest: Digest;
  oci: OciImage;
  config: ImageConfig;
  /** Diff IDs, lowest first. */
  layers: Digest[];
}

/** Parses the bytes of a configuration. Errors: `invalid_argument` naming the field. */
export function parseOciImage(bytes: Uint8Array): ParsedImage {
  if (bytes.length > MAX_CONFIG_BYTES) {
    throw invalid(`it has ${bytes.length} bytes, ${MAX_CONFIG_BYTES} are allowed`);
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid("it is not JSON", cause);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw invalid(`${issue.path.join(".") || "it"}: ${issue.message}`);
  }
  const oci = parsed.data;
  return { digest: sha256(bytes), oci, config: parseOciConfig(oci.config), layers: oci.rootfs.diff_ids };
}

/** The configuration of an image that was not built in steps: a root file system and how to run it. Always the same bytes for the same. */
export function newOciImage(
  layers: readonly Digest[],
  config: Partial<ImageConfig>,
  comment: string,
): Buffer {
  const [os, architecture] = hostPlatform().split("/");
  const image = {
    architecture,
    os,
    config: toOciConfig({ ...EMPTY_CONFIG, ...config }),
    rootfs: { type: "layers", diff_ids: layers },
    history: layers.map(() => ({ comment })),
  };
  return Buffer.from(JSON.stringify(image));
}

function invalid(reason: string, cause?: unknown): SandboxError {
  return new SandboxError("invalid_argument", `the image's configuration is invalid: ${reason}`, { cause });
}
