import { z } from "zod";
import { buildNetwork } from "./network.ts";

/** Images as they cross the API: what is stored, what a pull, a build or a prune is asked, and what it tells. */

/** A reference, or the digest of a stored image. */
export const imageRef = z.string().min(1).max(512);

export const imageInfo = z
  .object({
    name: z.string().meta({ description: "Short name, e.g. `python:3.12`; empty for one without a name." }),
    digest: z.string().meta({ description: "The image's own digest: the sha256 of its OCI configuration." }),
    manifestDigest: z
      .string()
      .optional()
      .meta({ description: "The digest by which the registry that it came from or went to knows it." }),
    sizeBytes: z.int().meta({ description: "Space of its layers, shared ones included." }),
    createdAt: z.iso.datetime().meta({ description: "When it got its name here." }),
  })
  .meta({ id: "Image" });
export type ImageInfo = z.output<typeof imageInfo>;

export const platform = z
  .object({ os: z.string(), architecture: z.string(), variant: z.string().optional() })
  .meta({ id: "Platform" });
export type Platform = z.output<typeof platform>;

/** Platforms in their usual spelling: `linux/amd64`, `linux/arm64/v8`. */
export const platformName = z
  .string()
  .regex(/^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9]+)?$/, "must look like linux/amd64 or linux/arm64/v8");

export const imageConfig = z
  .object({
    entrypoint: z.array(z.string()),
    cmd: z.array(z.string()),
    env: z.array(z.string()).meta({ description: "`NAME=value`, in order." }),
    workdir: z.string(),
    user: z.string().meta({ description: "`user`, `uid`, `user:group` or `uid:gid`; empty is root." }),
    exposedPorts: z.array(z.string()),
    stopSignal: z.string().meta({ description: "Name or number; empty is SIGTERM." }),
    volumes: z.array(z.string()),
    labels: z.record(z.string(), z.string()),
    shell: z.array(z.string()).meta({ description: "What the shell form of a build step runs in." }),
  })
  .meta({ id: "ImageConfig" });
export type ImageConfigInfo = z.output<typeof imageConfig>;

export const imageLayer = z
  .object({
    digest: z.string().meta({ description: "sha256 of the uncompressed tar: OCI's diff ID." }),
    tarBytes: z.int(),
    sizeBytes: z.int().meta({ description: "Space of its contents in the store." }),
    entries: z.int(),
  })
  .meta({ id: "ImageLayer" });

export const imageHistoryEntry = z
  .object({
    created: z.string().optional(),
    createdBy: z.string().optional(),
    author: z.string().optional(),
    comment: z.string().optional(),
    layer: z
      .string()
      .optional()
      .meta({ description: "The layer that this step made; none if it made none." }),
    sizeBytes: z.int(),
  })
  .meta({ id: "ImageHistoryEntry" });
export type ImageHistoryEntry = z.output<typeof imageHistoryEntry>;

/** All that is known of an image. */
export const imageDetail = z
  .object({
    digest: z.string(),
    names: z.array(z.string()),
    manifestDigests: z
      .array(z.string())
      .meta({ description: "`name@digest` of each registry that knows it." }),
    created: z.string().optional(),
    author: z.string().optional(),
    platform,
    config: imageConfig,
    layers: z.array(imageLayer).meta({ description: "Lowest first." }),
    history: z.array(imageHistoryEntry).meta({ description: "Oldest first." }),
    sizeBytes: z.int(),
    sandboxes: z.array(z.string()).meta({ description: "Names of the sandboxes that stand on it." }),
  })
  .meta({ id: "ImageDetail" });
export type ImageDetail = z.output<typeof imageDetail>;

export const pullRequest = z
  .strictObject({
    reference: imageRef,
    platform: platformName.optional().meta({ description: "Default: this host's, e.g. `linux/amd64`." }),
    digest: z
      .string()
      .optional()
      .meta({ description: "Refuse the image unless its manifest or index has this digest." }),
  })
  .meta({ id: "PullRequest" });
export type PullRequest = z.output<typeof pullRequest>;

export const pushRequest = z
  .strictObject({
    name: imageRef,
    reference: imageRef.optional().meta({ description: "Where to. Default: the registry of the name." }),
  })
  .meta({ id: "PushRequest" });
export type PushRequest = z.output<typeof pushRequest>;

export const pushResult = z
  .object({
    reference: z.string(),
    digest: z.string().meta({ description: "Of the manifest, as the registry knows it." }),
  })
  .meta({ id: "PushResult" });
export type PushResult = z.output<typeof pushResult>;

export const tagRequest = z.strictObject({ source: imageRef, target: imageRef }).meta({ id: "TagRequest" });

/** What archives of images can be: an OCI layout, or what `docker save` writes. */
export const ARCHIVE_FORMATS = ["oci", "docker"] as const;
export type ArchiveFormat = (typeof ARCHIVE_FORMATS)[number];

export const pruneRequest = z
  .strictObject({
    all: z
      .boolean()
      .default(false)
      .meta({ description: "Also images with a name that no sandbox stands on." }),
    buildCache: z.boolean().default(false).meta({ description: "Also what builds keep to be faster." }),
  })
  .meta({ id: "PruneRequest" });
export type PruneRequest = z.input<typeof pruneRequest>;

export const pruneReport = z
  .object({
    images: z.int(),
    layers: z.int(),
    cacheEntries: z.int(),
    freedBytes: z.int(),
    untagged: z.array(z.string()).meta({ description: "Names that were taken away." }),
  })
  .meta({ id: "PruneReport" });
export type PruneReport = z.output<typeof pruneReport>;

/** Where the space of the image store went. Bytes are what the files take on disk. */
export const imageUsage = z
  .object({
    images: z.object({ count: z.int(), bytes: z.int(), reclaimableBytes: z.int() }),
    layers: z.object({ count: z.int(), bytes: z.int() }),
    buildCache: z.object({ count: z.int(), bytes: z.int(), reclaimableBytes: z.int() }),
    totalBytes: z.int(),
    quotaBytes: z.int().optional(),
  })
  .meta({ id: "ImageUsage" });
export type ImageUsage = z.output<typeof imageUsage>;

/** How an image is built; the context's tar is the body beside it. */
export const buildRequest = z
  .strictObject({
    dockerfile: z
      .string()
      .min(1)
      .max(4096)
      .default("Dockerfile")
      .meta({ description: "Path in the context." }),
    tags: z.array(imageRef).max(64).default([]),
    buildArgs: z.record(z.string().max(256), z.string()).default({}),
    labels: z.record(z.string().max(128), z.string().max(1024)).default({}),
    target: z.string().max(256).optional().meta({ description: "Stage to build. Default: the last." }),
    platform: platformName.optional(),
    noCache: z.boolean().default(false).meta({ description: "Run every step again." }),
    pull: z.boolean().default(false).meta({ description: "Ask the registries for newer base images." }),
    cpus: z
      .int()
      .min(1)
      .max(64)
      .optional()
      .meta({ description: "Virtual CPUs of a build step. Default: 1." }),
    memoryMiB: z
      .int()
      .min(128)
      .max(1024 * 1024)
      .optional()
      .meta({ description: "Memory of a build step. Default: 1,024 MiB." }),
    network: buildNetwork.prefault({}),
  })
  .meta({ id: "BuildRequest" });
export type BuildRequest = z.output<typeof buildRequest>;
export type BuildRequestInput = z.input<typeof buildRequest>;

export const loginRequest = z
  .strictObject({
    registry: z.string().min(1).max(255),
    username: z.string().min(1).max(255),
    password: z.string().min(1).max(65_536),
  })
  .meta({ id: "LoginRequest" });
export type LoginRequest = z.output<typeof loginRequest>;

export const LAYER_PHASES = ["waiting", "downloading", "uploading", "retrying", "exists", "done"] as const;

/** Where one layer of a pull or a push is. */
export const layerProgress = z
  .object({
    digest: z.string(),
    phase: z.enum(LAYER_PHASES),
    bytes: z.int().meta({ description: "Of the layer as it travels, so far." }),
    totalBytes: z.int().optional(),
  })
  .meta({ id: "LayerProgress" });
export type LayerProgress = z.output<typeof layerProgress>;
