import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Digest, hexOf, sha256 } from "../digest.ts";
import { MEDIA_TYPES } from "../manifest.ts";
import { imageSettingsFile } from "./settings.ts";
import { type PullBench, pullBench } from "./testing/bench.ts";
import { ScriptedRegistry, type TestImage, testImage } from "./testing/scripted-registry.ts";

describe("policy.json", () => {
  test("the longest entry that fits holds, and errors name it", async () => {
    await using registry = await ScriptedRegistry.start();
    await using bench = await pullBench();
    const { host, image } = registry;
    const refused = (reference: string, entry: string, message: RegExp) =>
      expect(bench.pull(reference)).rejects.toMatchObject({
        code: "permission_denied",
        message: expect.stringMatching(message),
        hint: expect.stringContaining(`"${entry}"`),
        details: { entry },
      });
    await bench.write("policy.json", {
      default: { requireTag: true },
      registries: {
        [host]: { allow: false },
        [`${host}/team`]: {},
        [`${host}/team/strict`]: { requireDigest: true },
      },
    });
    await refused(`${host}/app:1`, host, /not allowed/);
    await refused(`${host}/teamwork:1`, host, /not allowed/);
    await refused(`${host}/team/strict:1`, `${host}/team/strict`, /digest/);
    await refused("elsewhere.invalid/x", "default", /latest/);
    expect(registry.seen).toEqual([]);
    await bench.pull(`${host}/team:1`);
    await bench.pull(`${host}/team/app:1`);
    await bench.pull(`${host}/team/strict@${image.manifest}`);
  });

  test.each(["HOST.test", "host.test:443", "host.test:0443"])(
    "it is the same registry by any spelling: %s",
    async (host) => {
      await using bench = await pullBench();
      await bench.write("policy.json", { registries: { "host.test": { allow: false } } });
      await expect(bench.pull(`${host}/app:1`)).rejects.toMatchObject({
        code: "permission_denied",
        details: { entry: "host.test" },
      });
    },
  );

  test.each([
    [{ registries: { "https://host.test": {} } }, /must be a registry/],
    [{ registries: { "Host.test/team": {} } }, /must be written as "host\.test\/team"/],
    [{ registries: { "registry-1.docker.io/a": {} } }, /must be written as "docker\.io\/a"/],
    [{ registries: { "host.test/": {} } }, /must be a registry/],
    [{ registries: { "host.test/app:1": {} } }, /must be a registry/],
    [{ registries: { python: {} } }, /must be a registry/],
    ["{", /policy\.json is not valid/],
    [{ registries: { a: { alow: false } } }, /registries\.a/],
    [{ default: { requireSignature: { keys: [] } } }, /keys/],
    [{ default: { requireSignature: { keys: ["relative.pub"] } } }, /absolute/],
  ])("a file that is not valid stops pulls, and is named: %#", async (value, message) => {
    await using registry = await ScriptedRegistry.start();
    await using bench = await pullBench();
    await bench.write("policy.json", value);
    await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(message),
    });
    expect(registry.seen).toEqual([]);
  });
});

describe("signatures", () => {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });

  /** Puts a signature beside the image, as `cosign sign --key` does. */
  function addSignature(
    image: TestImage,
    key: KeyObject,
    signed: Digest = image.manifest,
    change: (document: object) => object = (one) => one,
  ) {
    const document = Buffer.from(
      JSON.stringify(
        change({
          critical: {
            identity: { "docker-reference": "x" },
            image: { "docker-manifest-digest": signed },
            type: "cosign container image signature",
          },
          optional: null,
        }),
      ),
    );
    const signature = sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", document, key).toString(
      "base64",
    );
    image.blobs.set(sha256(document), document);
    const body = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        config: { mediaType: MEDIA_TYPES.ociConfig, digest: sha256("{}"), size: 2 },
        layers: [
          {
            mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
            digest: sha256(document),
            size: document.length,
            annotations: { "dev.cosignproject.cosign/signature": signature },
          },
        ],
      }),
    );
    image.manifests.set(`sha256-${hexOf(image.manifest)}.sig`, { type: MEDIA_TYPES.ociManifest, body });
  }

  async function requireKeys(bench: PullBench, ...keys: KeyObject[]): Promise<void> {
    const paths = keys.map((_, i) => join(bench.ws.path, `key${i}.pub`));
    for (const [i, key] of keys.entries())
      await writeFile(paths[i]!, key.export({ type: "spki", format: "pem" }));
    await bench.write("policy.json", { default: { requireSignature: { keys: paths } } });
  }

  test.each([
    ["ECDSA", pair],
    ["Ed25519", generateKeyPairSync("ed25519")],
    ["RSA", generateKeyPairSync("rsa", { modulusLength: 2048 })],
  ])("%s: an image that is signed is let in, by tag and by digest", async (_, { privateKey, publicKey }) => {
    const image = testImage();
    addSignature(image, privateKey);
    await using registry = await ScriptedRegistry.start(image);
    await using bench = await pullBench();
    await requireKeys(bench, pair.publicKey, publicKey);
    await bench.pull(`${registry.host}/app:1`);
    await bench.pull(`${registry.host}/app@${image.manifest}`);
  });

  test.each<[string, (image: TestImage) => void, RegExp]>([
    ["no signature", () => {}, /no signature/],
    [
      "another key's",
      (image) => addSignature(image, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey),
      /by one of the keys/,
    ],
    ["another image's", (image) => addSignature(image, pair.privateKey, sha256("another")), /another image/],
    [
      "a document of another kind",
      (image) =>
        addSignature(image, pair.privateKey, image.manifest, (document) => ({
          ...document,
          critical: { type: "other", image: { "docker-manifest-digest": image.manifest } },
        })),
      /another image/,
    ],
    [
      "a manifest that cannot be read",
      (image) =>
        image.manifests.set(`sha256-${hexOf(image.manifest)}.sig`, {
          type: MEDIA_TYPES.ociManifest,
          body: Buffer.from("[]"),
        }),
      /cannot be read/,
    ],
  ])("refused before a layer is fetched: %s", async (_, prepare, message) => {
    const image = testImage();
    prepare(image);
    await using registry = await ScriptedRegistry.start(image);
    await using bench = await pullBench();
    await requireKeys(bench, pair.publicKey);
    await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
      code: "permission_denied",
      message: expect.stringMatching(message),
    });
    for (const layer of image.layers) expect(registry.count(new RegExp(layer))).toBe(0);
  });

  test("a registry that fails when asked for a signature does not count as one without", async () => {
    const image = testImage();
    await using registry = await ScriptedRegistry.start(image, (_, response, { path }) => {
      if (!path.endsWith(".sig")) return false;
      response.writeHead(403);
      response.end();
      return true;
    });
    await using bench = await pullBench();
    await requireKeys(bench, pair.publicKey);
    await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({ code: "permission_denied" });
    await bench.write("policy.json", {
      default: { requireSignature: { keys: [join(bench.ws.path, "none.pub")] } },
    });
    await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/none\.pub/),
    });
  });
});

describe("images.json", () => {
  test("what is blocked is so as a mirror and by any spelling", async () => {
    await using bench = await pullBench();
    await bench.write("images.json", {
      registries: {
        "bad.test": { blocked: true },
        "host.test": { mirrors: ["https://BAD.test:443/"] },
      },
    });
    for (const reference of ["Bad.test/app", "bad.test:443/app", "host.test/app"]) {
      await expect(bench.pull(reference)).rejects.toMatchObject({
        code: "permission_denied",
        message: expect.stringContaining("bad.test is blocked"),
      });
    }
  });

  test("sizes, defaults, and reading it again when it has changed", async () => {
    await using bench = await pullBench();
    const path = join(bench.ws.path, "images.json");
    const file = imageSettingsFile(path);
    expect(file.get()).toEqual({ registries: {} });
    await writeFile(path, JSON.stringify({ quota: "50G", registries: { "a.test": { insecure: true } } }));
    expect(file.get()).toEqual({
      quota: 50 * 2 ** 30,
      registries: { "a.test": { mirrors: [], insecure: true, blocked: false } },
    });
  });

  test.each([
    [{ quota: "many" }, /quota/],
    [{ quota: 5 }, /quota/],
    [{ registries: { a: { mirrors: ["ftp://x"] } } }, /mirrors\.0/],
    [{ registries: { a: { mirrors: ["https://u:p@x"] } } }, /credentials/],
    [{ registries: { a: { ca: "relative" } } }, /absolute/],
    [{ registries: { "Host.test:443": {} } }, /must be written as "host\.test"/],
    [{ registries: { "https://host.test": {} } }, /must be a registry/],
    [{ other: 1 }, /other|Unrecognized/],
  ])("what is wrong with it is named: %j", async (value, message) => {
    await using bench = await pullBench();
    await bench.write("images.json", value);
    await expect(bench.pull("host.invalid/app")).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(message),
    });
  });
});
