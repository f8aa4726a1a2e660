import { randomBytes } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { sha256 } from "../digest.ts";
import { MEDIA_TYPES } from "../manifest.ts";
import { pullBench } from "./testing/bench.ts";
import { type Handler, ScriptedRegistry, testImage } from "./testing/scripted-registry.ts";
import { withRegistry } from "./testing/with-registry.ts";

const isBlob = (path: string, digest: string) => path.endsWith(`/blobs/${digest}`);

test("an image by tag and by digest: what is here is not fetched again", async () => {
  await withRegistry(undefined, async (registry, bench) => {
    const { image } = registry;
    const pulled = await bench.pull(`${registry.host}/app:1`);
    expect(pulled).toMatchObject({
      digest: image.config,
      names: [`${registry.host}/app:1`],
      manifestDigests: [`${registry.host}/app@${image.manifest}`],
      config: { cmd: ["/bin/sh"] },
    });
    expect(bench.layers.at(-1)?.phase).toBe("done");
    const before = registry.count(/blobs/);
    await bench.pull(`${registry.host}/app@${image.manifest}`);
    expect(registry.count(/blobs/)).toBe(before + 1); // the configuration
    expect((await bench.ws.store.get(image.config)).names).toHaveLength(2);
    await using tree = await bench.ws.store.openTree(image.config);
    expect(tree.lookup("bin/sh")?.inode.size).toBe(300_000);
  });
});

test("layers that two images share are fetched once, also at the same time", async () => {
  await withRegistry(undefined, async (registry, bench) => {
    await Promise.all([1, 2, 3].map(() => bench.pull(`${registry.host}/app:1`)));
    for (const layer of registry.image.layers) expect(registry.count(new RegExp(layer))).toBe(1);
  });
});

test.each([
  ["plain", (tar: Buffer): Buffer => tar],
  ["zstd", (tar: Buffer): Buffer => zstdCompressSync(tar)],
  [
    "gzip in two members",
    (tar: Buffer): Buffer => Buffer.concat([gzipSync(tar.subarray(0, 1000)), gzipSync(tar.subarray(1000))]),
  ],
] as const)("layers: %s", async (_, pack) => {
  await withRegistry(
    undefined,
    async (registry, bench) => {
      expect((await bench.pull(`${registry.host}/app:1`)).layers.map(({ digest }) => digest)).toEqual(
        registry.image.diffIds,
      );
    },
    testImage({ pack }),
  );
});

describe("what is not what it claims to be", () => {
  const [first] = testImage().layers;
  const change =
    (change: (body: Buffer) => Buffer): Handler =>
    (_, response, { path }) => {
      if (!isBlob(path, first!)) return false;
      response.end(change(Buffer.from(testImage().blobs.get(first!)!)));
      return true;
    };
  const cases: [string, Handler, RegExp][] = [
    [
      "another blob of the same length",
      change((body) => randomBytes(body.length)),
      /layer sha256:.*(not what|damaged|not a valid tar)/,
    ],
    [
      "one byte changed at the end",
      change((body) => {
        body[body.length - 5]! ^= 1;
        return body;
      }),
      /layer sha256:/,
    ],
    [
      "more bytes than it should have",
      change((body) => Buffer.concat([body, Buffer.alloc(100_000)])),
      /more than/,
    ],
    [
      "a manifest that is not its digest",
      (_, response, { path }) => {
        if (!path.includes("/manifests/")) return false;
        response.setHeader("docker-content-digest", sha256("another"));
        response.end(testImage().manifests.get("1")!.body);
        return true;
      },
      /not what its digest says/,
    ],
    [
      "a configuration that is not its digest",
      (_, response, { path }) => {
        if (!isBlob(path, testImage().config)) return false;
        response.end(Buffer.alloc(testImage().blobs.get(testImage().config)!.length, " "));
        return true;
      },
      /configuration.*not what its digest says/,
    ],
  ];
  test.each(cases)("%s", async (_, handler, message) => {
    await withRegistry(handler, async (registry, bench) => {
      await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
        code: "invalid_argument",
        message: expect.stringMatching(message),
      });
      await bench.ws.store.sweep({ inUse: [] });
      expect(await bench.left()).toEqual([]);
    });
  });

  test("a layer whose contents are not those that the configuration names", async () => {
    const image = testImage();
    const lying = testImage({ layers: [[{ path: "other" }], [{ path: "etc/x", data: Buffer.from("x") }]] });
    // The manifest of one image with the configuration of another.
    const manifest = JSON.parse(image.manifests.get("1")!.body.toString());
    manifest.config = {
      ...manifest.config,
      digest: lying.config,
      size: lying.blobs.get(lying.config)!.length,
    };
    image.manifests.set("1", { type: MEDIA_TYPES.ociManifest, body: Buffer.from(JSON.stringify(manifest)) });
    image.blobs.set(lying.config, lying.blobs.get(lying.config)!);
    await withRegistry(
      undefined,
      async (registry, bench) => {
        await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
          code: "invalid_argument",
          message: expect.stringMatching(/is not what it claims to be/),
        });
      },
      image,
    );
  });

  test("the digest that was asked for", async () => {
    await withRegistry(undefined, async (registry, bench) => {
      await bench.pull(`${registry.host}/app:1`, { digest: registry.image.manifest });
      await expect(bench.pull(`${registry.host}/app:1`, { digest: sha256("other") })).rejects.toMatchObject({
        code: "invalid_argument",
        message: expect.stringMatching(/is not sha256:/),
      });
    });
  });
});

test("a pull can be cancelled, and keeps only whole layers", async () => {
  const image = testImage();
  const stop = new AbortController();
  await withRegistry(
    (_, response, { path }) => {
      if (!isBlob(path, image.layers[0]!)) return false;
      response.writeHead(200);
      response.write(image.blobs.get(image.layers[0]!)!.subarray(0, 1000));
      setTimeout(() => stop.abort(), 20);
      return true;
    },
    async (registry, bench) => {
      await expect(bench.pull(`${registry.host}/app:1`, { signal: stop.signal })).rejects.toMatchObject({
        code: "cancelled",
      });
      expect((await bench.left()).filter((file) => !file.endsWith(image.diffIds[1]!.slice(7)))).toEqual([]);
      // The second attempt fetches what is missing.
      registry.handler = () => false;
      await bench.pull(`${registry.host}/app:1`);
    },
    image,
  );
});

test("the image for the platform is chosen from an index; names remember the index", async () => {
  const image = testImage();
  const other = testImage({ platform: "linux/s390x", layers: [[{ path: "s390x" }]] });
  const entry = (one: typeof image, platform: object) => ({
    mediaType: MEDIA_TYPES.ociManifest,
    digest: one.manifest,
    size: one.manifests.get("1")!.body.length,
    platform,
  });
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [
        entry(other, { os: "linux", architecture: "s390x" }),
        {
          ...entry(other, { os: "unknown", architecture: "unknown" }),
          annotations: { "vnd.docker.reference.type": "attestation-manifest" },
        },
        entry(image, { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" }),
      ],
    }),
  );
  image.manifests.set("1", { type: MEDIA_TYPES.ociIndex, body: index });
  image.manifests.set(sha256(index), { type: MEDIA_TYPES.ociIndex, body: index });
  for (const [digest, manifest] of other.manifests) if (digest !== "1") image.manifests.set(digest, manifest);
  for (const [digest, blob] of other.blobs) image.blobs.set(digest, blob);
  await withRegistry(
    undefined,
    async (registry, bench) => {
      const pulled = await bench.pull(`${registry.host}/app:1`);
      expect(pulled.digest).toBe(image.config);
      expect(pulled.manifestDigests).toEqual([`${registry.host}/app@${sha256(index)}`]);
      expect(
        (await bench.pull(`${registry.host}/app@${sha256(index)}`, { platform: "linux/s390x" })).digest,
      ).toBe(other.config);
      await bench.pull(`${registry.host}/app:1`, { digest: image.manifest });
      await expect(bench.pull(`${registry.host}/app:1`, { platform: "linux/riscv64" })).rejects.toMatchObject(
        { code: "not_found", hint: expect.stringMatching(/linux\/s390x/) },
      );
    },
    image,
  );
});

test("an index that lies about the size of a manifest is refused", async () => {
  const image = testImage();
  const manifests = [{ mediaType: MEDIA_TYPES.ociManifest, digest: image.manifest, size: 5 }];
  const body = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
  image.manifests.set("1", { type: MEDIA_TYPES.ociIndex, body });
  await withRegistry(
    undefined,
    async (registry, bench) => {
      await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
        code: "invalid_argument",
        message: expect.stringMatching(/index says 5/),
      });
    },
    image,
  );
});

test("a name of this machine is asked for nowhere", async () => {
  await using bench = await pullBench();
  await expect(bench.pull("msb/python")).rejects.toMatchObject({ code: "not_found" });
  await bench.write("images.json", { registries: { "blocked.invalid": { blocked: true } } });
  await expect(bench.pull("blocked.invalid/app")).rejects.toMatchObject({
    code: "permission_denied",
    hint: expect.stringMatching(/images\.json/),
  });
});

test("mirrors are asked first, and the registry goes on where a mirror breaks off", async () => {
  const image = testImage();
  await using mirror = await ScriptedRegistry.start(image, (_, response, { path }) => {
    if (!isBlob(path, image.layers[0]!)) return false;
    response.writeHead(200, { "content-length": 999_999 });
    response.write(image.blobs.get(image.layers[0]!)!.subarray(0, 70_000));
    setTimeout(() => response.destroy(), 10);
    mirror.handler = (_, gone, seen) => {
      if (!isBlob(seen.path, image.layers[0]!)) return false;
      gone.writeHead(404);
      gone.end();
      return true;
    };
    return true;
  });
  await withRegistry(
    undefined,
    async (registry, bench) => {
      await bench.write("images.json", {
        registries: { [registry.host]: { mirrors: [`http://${mirror.host}`] } },
      });
      await bench.credentials.keep(registry.host, { username: "u", password: "secret" });
      await bench.pull(`${registry.host}/app:1`);
      expect(registry.seen.filter(({ path }) => path !== "/v2/")).toMatchObject([
        { range: expect.stringMatching(/^bytes=[0-9]{5}-$/) },
      ]);
      expect(mirror.seen.every(({ authorization }) => authorization === undefined)).toBe(true);
    },
    image,
  );
});
