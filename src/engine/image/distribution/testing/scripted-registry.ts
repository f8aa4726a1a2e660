import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { buildTar, type TestEntry } from "../../../../tar/tar-builder.test-support.ts";
import { type Digest, sha256 } from "../../digest.ts";
import { MEDIA_TYPES } from "../../manifest.ts";

/**
 * A registry on loopback that does as a test says, mostly wrong. It serves one image unless a handler takes the request; all
 * requests are remembered.
 */

export interface Seen {
  method: string;
  /** With its query. */
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** Takes a request by answering it, and returns true; or leaves it to the registry. */
export type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  seen: Seen,
) => boolean | undefined | Promise<boolean | undefined>;

export class ScriptedRegistry implements AsyncDisposable {
  readonly seen: Seen[] = [];
  readonly image: TestImage;
  handler: Handler = () => false;
  readonly #server: Server;
  #port = 0;

  private constructor(image: TestImage) {
    this.image = image;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(image: TestImage = testImage(), handler?: Handler): Promise<ScriptedRegistry> {
    const registry = new ScriptedRegistry(image);
    if (handler !== undefined) registry.handler = handler;
    registry.#server.listen(0, "127.0.0.1");
    await once(registry.#server, "listening");
    registry.#port = (registry.#server.address() as { port: number }).port;
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** How often a path was asked for. */
  count(pattern: RegExp): number {
    return this.seen.filter(({ path }) => pattern.test(path)).length;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request;
    const seen: Seen = { method, path: url, authorization: headers.authorization, range: headers.range };
    this.seen.push(seen);
    response.on("error", () => {});
    if (await this.handler(request, response, seen)) return;
    if (url === "/v2/") return void response.end("{}");
    const [, kind, reference = ""] = /^\/v2\/.+\/(manifests|blobs)\/([^?]+)/.exec(url) ?? [];
    const found =
      kind === "manifests" ? this.image.manifests.get(reference) : this.image.blobs.get(reference as Digest);
    if (found === undefined) {
      response.writeHead(404, { "content-type": "application/json" });
      return void response.end(
        JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] }),
      );
    }
    const body = Buffer.isBuffer(found) ? found : found.body;
    const type = Buffer.isBuffer(found) ? "application/octet-stream" : found.type;
    const start = Number(/^bytes=([0-9]+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
    const range = start === 0 ? {} : { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` };
    response.writeHead(start === 0 ? 200 : 206, {
      "content-type": type,
      "content-length": body.length - start,
      ...range,
    });
    response.end(body.subarray(start));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

export interface TestImage {
  /** By tag and by digest. */
  manifests: Map<string, { type: string; body: Buffer }>;
  blobs: Map<Digest, Buffer>;
  manifest: Digest;
  config: Digest;
  /** As they travel. */
  layers: Digest[];
  diffIds: Digest[];
}

/** An image of two layers under the tag `1`. */
export function testImage(
  options: { layers?: TestEntry[][]; platform?: string; pack?: (tar: Buffer) => Buffer } = {},
): TestImage {
  const {
    layers = [
      [{ path: "bin/sh", mode: 0o755, data: noise(300_000) }],
      [{ path: "etc/x", data: Buffer.from("x") }],
    ],
    platform = `linux/${process.arch === "arm64" ? "arm64" : "amd64"}`,
    pack = (tar) => gzipSync(tar),
  } = options;
  const tars = layers.map((entries) => buildTar(entries));
  const packed = tars.map(pack);
  const [os, architecture] = platform.split("/");
  const diffIds = tars.map((tar) => sha256(tar));
  const config = Buffer.from(
    JSON.stringify({
      os,
      architecture,
      config: { Cmd: ["/bin/sh"] },
      rootfs: { type: "layers", diff_ids: diffIds },
    }),
  );
  const blobs = new Map<Digest, Buffer>([
    [sha256(config), config],
    ...packed.map((blob) => [sha256(blob), blob] as const),
  ]);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: MEDIA_TYPES.ociConfig, digest: sha256(config), size: config.length },
      layers: packed.map((blob) => ({
        mediaType: MEDIA_TYPES.ociGzipLayer,
        digest: sha256(blob),
        size: blob.length,
      })),
    }),
  );
  const entry = { type: MEDIA_TYPES.ociManifest, body: manifest };
  return {
    manifests: new Map([
      ["1", entry],
      [sha256(manifest), entry],
    ]),
    blobs,
    manifest: sha256(manifest),
    config: sha256(config),
    layers: packed.map((blob) => sha256(blob)),
    diffIds,
  };
}

/** Bytes that gzip does not make smaller, the same each time. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (state * 48_271) % 2_147_483_647;
    bytes[i] = state & 0xff;
  }
  return bytes;
}
