import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { sha256 } from "./digest.ts";
import { choosePlatform, type Descriptor, MEDIA_TYPES, parseManifest } from "./manifest.ts";

const config = { mediaType: MEDIA_TYPES.ociConfig, digest: sha256("config"), size: 10 };
const layer = { mediaType: MEDIA_TYPES.ociGzipLayer, digest: sha256("layer"), size: 20 };
const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [layer] };
const parse = (value: unknown, type?: string) =>
  parseManifest(Buffer.from(JSON.stringify(value)), type, "python:3");

test("manifests of OCI and of Docker, with and without their type", () => {
  const docker = {
    schemaVersion: 2,
    config: { ...config, mediaType: MEDIA_TYPES.dockerConfig },
    layers: [{ ...layer, mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" }],
  };
  expect(parse(manifest)).toMatchObject({ kind: "manifest", config, layers: [layer] });
  expect(parse(docker, `${MEDIA_TYPES.dockerManifest}; charset=utf-8`)).toMatchObject({ kind: "manifest" });
  expect(parse(docker)).toMatchObject({ kind: "manifest" });
  expect(parse({ schemaVersion: 2, manifests: [] })).toMatchObject({ kind: "index", manifests: [] });
  expect(parse({ schemaVersion: 2, manifests: [] }, MEDIA_TYPES.dockerList)).toMatchObject({ kind: "index" });
});

const withLayer = (change: object) => ({ ...manifest, layers: [{ ...layer, ...change }] });

test.each<[string, unknown, string, string, string?]>([
  ["schema 1", { schemaVersion: 1, fsLayers: [] }, "unsupported", "schema 1"],
  [
    "an artifact",
    { ...manifest, config: { ...config, mediaType: "application/vnd.oci.empty.v1+json" } },
    "unsupported",
    "is no image",
  ],
  [
    "a foreign layer",
    withLayer({ mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" }),
    "unsupported",
    layer.digest,
  ],
  [
    "a layer elsewhere",
    withLayer({ urls: ["https://elsewhere.test/layer"] }),
    "unsupported",
    "outside of the registry",
  ],
  [
    "a layer that may not be distributed",
    withLayer({ mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar" }),
    "unsupported",
    "foreign",
  ],
  ["an unknown layer", withLayer({ mediaType: "application/x-7z" }), "unsupported", "application/x-7z"],
  [
    "a sha512 digest",
    withLayer({ digest: `sha512:${"a".repeat(128)}` }),
    "invalid_argument",
    "sha512 digests are not supported",
  ],
  ["a digest that is none", withLayer({ digest: "sha256:../../x" }), "invalid_argument", "layers.0.digest"],
  ["a negative size", withLayer({ size: -1 }), "invalid_argument", "layers.0.size"],
  ["a huge layer", withLayer({ size: 2 ** 50 }), "invalid_argument", "claims"],
  [
    "a huge configuration",
    { ...manifest, config: { ...config, size: 2 ** 30 } },
    "invalid_argument",
    "configuration",
  ],
  [
    "too many layers",
    { ...manifest, layers: Array.from({ length: 128 }, () => layer) },
    "invalid_argument",
    "layers",
  ],
  ["two things at once", { ...manifest, manifests: [] }, "invalid_argument", "at once"],
  ["one thing given as another", manifest, "invalid_argument", "was given as", MEDIA_TYPES.ociIndex],
  ["a list", [], "invalid_argument", "no object"],
  [
    "a type that moves the cursor",
    { ...manifest, mediaType: "\u001b[2J" },
    "invalid_argument",
    "mediaType: must be",
  ],
  ["a layer that moves the cursor", withLayer({ mediaType: "\u001b[2J" }), "invalid_argument", "printable"],
  [
    "a platform that moves the cursor",
    { schemaVersion: 2, manifests: [{ ...config, platform: { os: "\u001b[2J", architecture: "x" } }] },
    "invalid_argument",
    "manifests.0.platform.os: must be",
  ],
])("refused: %s", (_, value, code, message, type) => {
  expect(() => parse(value, type)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});

test("noise is refused, and nothing else is thrown", () => {
  const noise = fc.oneof(
    fc.json().map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 100 }),
    fc
      .tuple(fc.constantFrom(...Object.keys(manifest)), fc.jsonValue())
      .map(([key, value]) => Buffer.from(JSON.stringify({ ...manifest, [key]: value }))),
  );
  fc.assert(
    fc.property(
      noise,
      fc.option(fc.constantFrom(...Object.values(MEDIA_TYPES)), { nil: undefined }),
      (bytes, type) => {
        try {
          parseManifest(bytes, type, "x");
        } catch (error) {
          expect(error).toBeInstanceOf(SandboxError);
        }
      },
    ),
    { numRuns: 5000, seed: 2 },
  );
  expect(() => parseManifest(Buffer.alloc(5 * 2 ** 20, " "), undefined, "x")).toThrow(/5242880 bytes/);
});

test("the image for a platform is found by its variant too, and what there is else is listed", () => {
  const image = (name: string, platform?: Descriptor["platform"]): Descriptor => ({
    mediaType: MEDIA_TYPES.ociManifest,
    digest: sha256(name),
    size: 1,
    annotations: undefined,
    platform,
  });
  const all = [
    image("attestation", { os: "unknown", architecture: "unknown" }),
    image("arm7", { os: "linux", architecture: "arm", variant: "v7" }),
    image("arm64", { os: "linux", architecture: "arm64", variant: "v8" }),
    image("amd64", { os: "linux", architecture: "amd64" }),
    image("amd64 again", { os: "linux", architecture: "amd64" }),
  ];
  const chosen = (platform: string) => choosePlatform(all, platform, "python:3").digest;
  expect(chosen("linux/amd64")).toBe(sha256("amd64"));
  expect(chosen("linux/arm64")).toBe(sha256("arm64"));
  expect(chosen("linux/arm64/v8")).toBe(sha256("arm64"));
  expect(chosen("linux/arm")).toBe(sha256("arm7"));
  expect(() => chosen("windows/amd64")).toThrow(
    expect.objectContaining({
      code: "not_found",
      hint: "It has images for linux/arm/v7, linux/arm64/v8, linux/amd64.",
    }),
  );
  expect(() => chosen("linux/arm64/v9")).toThrow(expect.objectContaining({ code: "not_found" }));
  expect(choosePlatform([image("only")], "linux/riscv64", "x").digest).toBe(sha256("only"));
});
