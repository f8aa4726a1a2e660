import type { IncomingMessage } from "node:http";
import { Transform } from "node:stream";
import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { imageInfo, SandboxError } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { longOperation } from "./long-operation.ts";
import { failure, json } from "./schemas.ts";

/** Images: list, import, remove. */

const tags = ["images"];
/** A tar beyond this is a mistake or an attack, not a root file system. */
export const MAX_TAR_BYTES = 64 * 1024 ** 3;
/** Header that carries an OCI image config, as base64 of JSON. A header, so that the body is the tar and nothing else. */
export const CONFIG_HEADER = "x-msb-image-config";
const MAX_CONFIG_BYTES = 64 * 1024;

const nameQuery = z.object({
  name: z.string().min(1).max(512).meta({ description: "Name to give it.", example: "my/image" }),
});

const list = createRoute({
  method: "get",
  path: "/v1/images",
  operationId: "listImages",
  summary: "List images",
  tags,
  responses: { 200: json(z.object({ images: z.array(imageInfo) }), "By name."), ...failure },
});

const load = createRoute({
  method: "post",
  path: "/v1/images/import",
  operationId: "importImage",
  summary: "Make an image of a root file system tar",
  description:
    "The body is the tar: plain, gzip or zstd. Accepts NDJSON for progress as `createSandbox` does.",
  tags,
  request: {
    query: nameQuery,
    headers: z.object({
      [CONFIG_HEADER]: z
        .string()
        .optional()
        .meta({ description: "OCI image config: base64 of JSON, at most 64 KiB." }),
    }),
    body: {
      required: true,
      content: { "application/x-tar": { schema: z.string().meta({ format: "binary" }) } },
    },
  },
  responses: { 201: json(imageInfo, "The image."), ...failure },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/images",
  operationId: "removeImage",
  summary: "Remove an image",
  tags,
  request: { query: nameQuery },
  responses: { 204: { description: "It is gone." }, ...failure },
});

export function addImageRoutes(api: OpenAPIHono, { engine }: ApiContext): void {
  api.openapi(list, async (c) => c.json({ images: await engine.images.list() }, 200));
  api.openapi(load, (c) => {
    const { name } = c.req.valid("query");
    const config = parseConfig(c.req.header(CONFIG_HEADER));
    // The request itself rather than its web stream: a copy less per chunk, and its errors say more.
    const { incoming } = c.env as { incoming: IncomingMessage };
    return longOperation(c, 201, async (context) => {
      const tar = incoming.pipe(atMost(MAX_TAR_BYTES));
      // `pipe` forwards no end by accident: without this an import would wait for ever for a client that is gone.
      incoming.once("close", () => {
        if (!incoming.complete) {
          tar.destroy(new SandboxError("cancelled", `the client went away while it sent image ${name}`));
        }
      });
      try {
        return await engine.images.import(name, tar, {
          ...context,
          ...(config === undefined ? {} : { config }),
        });
      } finally {
        tar.destroy();
      }
    }) as never;
  });
  api.openapi(remove, async (c) => {
    await engine.images.remove(c.req.valid("query").name);
    return c.body(null, 204);
  });
}

function parseConfig(header: string | undefined): unknown {
  if (header === undefined) return undefined;
  const bytes = Buffer.from(header, "base64");
  if (bytes.length > MAX_CONFIG_BYTES) {
    throw new SandboxError(
      "invalid_argument",
      `the image config has ${bytes.length} bytes, 65536 are allowed`,
    );
  }
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new SandboxError("invalid_argument", "the image config is not base64 of JSON", { cause });
  }
}

function atMost(limit: number): Transform {
  let seen = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen += chunk.length;
      if (seen <= limit) done(null, chunk);
      else done(new SandboxError("resource_exhausted", `the tar is larger than ${limit} bytes`));
    },
  });
}
