/**
 * Manifests and indexes, of OCI and of Docker: which configuration and layers an image has, and which image is for which
 * platform. Formats: OCI image-spec, manifest.md and image-index.md; Docker's "image manifest v2, schema 2".
 *
 * They are a stranger's JSON: at most MAX_MANIFEST_BYTES, 127 layers, 1,000 images in an index. What an image cannot
 * be run without understanding is refused, and said.
 */

import { z } from "zod";
import { SandboxError } from "../../contract/errors.ts";
import { type Digest, isDigest } from "./digest.ts";
import { MAX_CONFIG_BYTES, MAX_LAYERS } from "./oci-image.ts";

/** As large as registries take them (distribution-spec, "Pushing Manifests"). */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const MAX_LAYER_BYTES = 2 ** 40;

export const MEDIA_TYPES = {
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  ociConfig: "application/vnd.oci.image.config.v1+json",
  ociLayer: "application/vnd.oci.image.layer.v1.tar",
  ociGzipLayer: "application/vnd.oci.image.layer.v1.tar+gzip",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
} as const;

const INDEX_TYPES: readonly string[] = [MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerList];
const MANIFEST_TYPES: readonly string[] = [MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest];
const CONFIG_TYPES: readonly string[] = [MEDIA_TYPES.ociConfig, MEDIA_TYPES.dockerConfig];
const LAYER_TYPE =
  /^application\/vnd\.(oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(\.gzip|\.zstd)?)$/;
const FOREIGN_LAYER_TYPE = /nondistributable|foreign/;

/** Media types and platforms, which errors quote: nothing that a terminal would act on. */
const word = z.string().regex(/^[\x20-\x7e]{0,255}$/, "must be at most 255 printable ASCII characters");
const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), {
  error: (issue) =>
    typeof issue.input === "string" && /^sha512:/.test(issue.input)
      ? "sha512 digests are not supported"
      : "must be a sha256 digest",
});
const platform = z.object({ os: word, architecture: word, variant: word.nullish() });
const descriptor = z.object({
  mediaType: word,
  digest,
  size: z.int().min(0),
  urls: z.array(z.string().max(4096)).nullish(),
  annotations: z
    .record(z.string(), z.string())
    .nullish()
    .transform((value) => value ?? undefined),
  platform: platform.nullish(),
});

/** What names a document or a layer: its type, digest and size. */
export type Descriptor = z.output<typeof descriptor>;

const index = z.object({ schemaVersion: z.literal(2), manifests: z.array(descriptor).max(1000) });
const manifest = z.object({
  schemaVersion: z.literal(2),
  artifactType: word.nullish(),
  config: descriptor,
  layers: z.array(descriptor).max(MAX_LAYERS),
});

export interface ImageManifest {
  kind: "manifest";
  config: Descriptor;
  /** Lowest first. */
  layers: Descriptor[];
}

export interface ImageIndex {
  kind: "index";
  manifests: Descriptor[];
}

/**
 * @param mediaType as it came with the bytes; the document's own `mediaType` counts where there is none
 * @param what the document, as errors say it
 * @throws `invalid_argument`; `unsupported` for schema 1, artifacts that are no images, and layers that cannot be had
 */
export function parseManifest(
  bytes: Uint8Array,
  mediaType: string | undefined,
  what: string,
): ImageManifest | ImageIndex {
  const json = parseJson(bytes, what);
  const own = checked(z.object({ mediaType: word.nullish() }), json, what).mediaType ?? undefined;
  const type = withoutParameters(mediaType) ?? own;
  if (own !== undefined && type !== own && isKnown(type)) {
    // One document that is an index to one reader and a manifest to another is an attack (CVE-2021-41190).
    throw invalid(what, `it says that it is ${own}, and was given as ${type}`);
  }
  if ("manifests" in json && "layers" in json) throw invalid(what, "it is a manifest and an index at once");
  if (json.schemaVersion === 1 || type?.includes("distribution.manifest.v1")) {
    throw new SandboxError(
      "unsupported",
      `${what} is of Docker's schema 1, which has been obsolete since 2017`,
      {
        hint: "Push the image again with a current tool.",
      },
    );
  }
  const isIndex = isKnown(type) ? INDEX_TYPES.includes(type!) : "manifests" in json;
  if (isIndex) return { kind: "index", manifests: checked(index, json, what).manifests };
  const { config, layers, artifactType } = checked(manifest, json, what);
  if (!CONFIG_TYPES.includes(config.mediaType)) {
    throw new SandboxError("unsupported", `${what} is no image but ${artifactType ?? config.mediaType}`, {
      hint: "Only images with an OCI or Docker configuration can be run.",
    });
  }
  if (config.size > MAX_CONFIG_BYTES) throw invalid(what, `its configuration has ${config.size} bytes`);
  for (const layer of layers) assertLayer(layer, what);
  return { kind: "manifest", config, layers };
}

/** The descriptors of an index, whatever its type says. Errors: `invalid_argument`. */
export function parseIndex(bytes: Uint8Array, what: string): Descriptor[] {
  return checked(index, parseJson(bytes, what), what).manifests;
}

/**
 * The image for a platform, as `linux/amd64` or `linux/arm64/v8`. The first that fits is taken, as Docker does.
 *
 * Errors: `not_found`, listing the platforms that there are.
 */
export function choosePlatform(manifests: readonly Descriptor[], wanted: string, what: string): Descriptor {
  const [os, architecture, variant] = wanted.split("/");
  const images = manifests.filter(({ mediaType }) => [...MANIFEST_TYPES, ...INDEX_TYPES].includes(mediaType));
  const fits = ({ platform: one }: Descriptor) =>
    one?.os === os && one?.architecture === architecture && (!variant || variantOf(one) === variant);
  const found =
    images.find(fits) ??
    // An image that says nothing of its platform may be for any; its configuration will tell.
    (images.length === 1 && !images[0]!.platform ? images[0] : undefined);
  if (found !== undefined) return found;
  // What builders attach to images calls its platform unknown.
  const known = images.flatMap(({ platform }) => (platform && platform.os !== "unknown" ? [platform] : []));
  const names = known.map((one) => [one.os, one.architecture, one.variant].filter(Boolean).join("/"));
  throw new SandboxError("not_found", `${what} has no image for ${wanted}`, {
    hint:
      names.length === 0
        ? "It has images for no platform."
        : `It has images for ${[...new Set(names)].join(", ")}.`,
    details: { wanted, platforms: names },
  });
}

/** arm64 is v8 and arm is v7 where nobody says so (containerd, platforms.Normalize). */
function variantOf(platform: Descriptor["platform"]): string | undefined {
  const implied: Record<string, string> = { arm64: "v8", arm: "v7" };
  return platform?.variant || implied[platform?.architecture ?? ""];
}

function assertLayer(layer: Descriptor, what: string): void {
  if (FOREIGN_LAYER_TYPE.test(layer.mediaType) || (layer.urls?.length ?? 0) > 0) {
    throw new SandboxError(
      "unsupported",
      `layer ${layer.digest} of ${what} is kept outside of the registry ("foreign")`,
      {
        hint: "Such layers are parts of Windows, which sandboxes do not run.",
        details: { layer: layer.digest },
      },
    );
  }
  if (!LAYER_TYPE.test(layer.mediaType)) {
    throw new SandboxError(
      "unsupported",
      `layer ${layer.digest} of ${what} is of an unknown type: ${layer.mediaType}`,
      {
        hint: "Layers are tars: plain, gzip or zstd.",
        details: { layer: layer.digest },
      },
    );
  }
  if (layer.size > MAX_LAYER_BYTES)
    throw invalid(what, `layer ${layer.digest} claims to have ${layer.size} bytes`);
}

function parseJson(bytes: Uint8Array, what: string): Record<string, unknown> {
  if (bytes.length > MAX_MANIFEST_BYTES) {
    throw invalid(what, `it has ${bytes.length} bytes, ${MAX_MANIFEST_BYTES} are allowed`);
  }
  try {
    const json: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof json === "object" && json !== null && !Array.isArray(json))
      return json as Record<string, unknown>;
  } catch (cause) {
    throw invalid(what, "it is not JSON", cause);
  }
  throw invalid(what, "it is no object");
}

function checked<T>(schema: z.ZodType<T>, json: unknown, what: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw invalid(what, `${issue.path.join(".") || "it"}: ${issue.message}`);
}

const isKnown = (type: string | undefined) => [...INDEX_TYPES, ...MANIFEST_TYPES].includes(type ?? "");

const withoutParameters = (type: string | undefined) => type?.replace(/;.*$/, "").trim();

function invalid(what: string, reason: string, cause?: unknown): SandboxError {
  return new SandboxError("invalid_argument", `${what} is invalid: ${reason}`, { cause });
}
