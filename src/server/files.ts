import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { fileEntry, fileOperation, fileOwner, filePath, fileResult, fileUser } from "../contract/index.ts";
import { byteResponse } from "./byte-response.ts";
import type { ApiContext } from "./context.ts";
import { ndjsonResponse } from "./ndjson.ts";
import { failure, json, queryFlag, queryInt, refParam } from "./schemas.ts";
import { withUpload } from "./upload.ts";

/** Files inside a running sandbox. Contents stream both ways, at the pace of the slower end. */

const tags = ["files"];
const on = { path: filePath, user: fileUser.optional() };
const BYTES = "application/octet-stream";
const octets = { [BYTES]: { schema: { type: "string", format: "binary" } as const } };
/** No file system of a sandbox holds more. */
const MAX_FILE_BYTES = 16 * 1024 ** 4;
const offset = queryInt(0, Number.MAX_SAFE_INTEGER);

const read = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/files/content",
  operationId: "readFile",
  summary: "Read a file",
  tags,
  request: {
    params: refParam,
    query: z.object({
      ...on,
      offset: offset.optional().meta({ description: "Where to begin. Default: 0." }),
      length: offset.optional().meta({ description: "How many bytes at most. Default: all." }),
    }),
  },
  responses: {
    200: { description: "Its bytes. A connection that breaks off: not all of them.", content: octets },
    ...failure,
  },
});

const write = createRoute({
  method: "put",
  path: "/v1/sandboxes/{ref}/files/content",
  operationId: "writeFile",
  summary: "Write a file",
  description: "Without `offset` and `append` it is written anew.",
  tags,
  request: {
    params: refParam,
    query: z.object({
      ...on,
      offset: offset.optional().meta({ description: "Where to begin; the rest of the file stays." }),
      append: queryFlag.optional(),
      create: queryFlag.optional().meta({ description: "Make it if it is missing. Default: true." }),
      exclusive: queryFlag.optional().meta({ description: "Refuse one that is there." }),
      atomic: queryFlag
        .optional()
        .meta({ description: "Write beside it and put it in place when it is whole." }),
      sync: queryFlag.optional().meta({ description: "Have it on the disk before the answer." }),
      mode: z
        .string()
        .regex(/^[0-7]{1,4}$/, "must be an octal number of at most four digits")
        .optional()
        .meta({ description: "Permission bits, octal. Default: those it has, for a new one 644." }),
      owner: fileOwner.optional(),
    }),
    body: { required: true, content: octets },
  },
  responses: { 200: json(z.object({ bytes: z.int() }), "How many bytes were written."), ...failure },
});

const list = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/files",
  operationId: "listFiles",
  summary: "List a folder",
  description: "In the folder's own order; memory is bounded however many there are. Links are not followed.",
  tags,
  request: {
    params: refParam,
    query: z.object({
      ...on,
      recursive: queryFlag.optional(),
      depth: queryInt(1, 512)
        .optional()
        .meta({ description: "How deep with `recursive`; 1 is the folder itself." }),
      glob: z.string().min(1).max(4096).optional().meta({
        description:
          "Only what fits: `*`, `?`, `[a-z]`, `**` through folders. Without a slash it is about the last name.",
      }),
    }),
  },
  responses: {
    200: {
      description: "One entry per line. An error on the way is the last line.",
      content: { "application/x-ndjson": { schema: fileEntry } },
    },
    ...failure,
  },
});

const operate = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/files",
  operationId: "operateOnFile",
  summary: "Look at, make, move, change or remove a file",
  tags,
  request: {
    params: refParam,
    body: { required: true, content: { "application/json": { schema: fileOperation } } },
  },
  responses: { 200: json(fileResult, "What was asked for; empty when there is nothing to say."), ...failure },
});

export function addFileRoutes(api: OpenAPIHono, { engine: { sandboxes }, log }: ApiContext): void {
  api.openapi(read, (c) => {
    const files = sandboxes.files(c.req.valid("param").ref);
    return byteResponse(c, log, BYTES, (signal) => files.read(c.req.valid("query"), signal)) as never;
  });
  api.openapi(write, async (c) => {
    const files = sandboxes.files(c.req.valid("param").ref);
    const { mode, ...query } = c.req.valid("query");
    const request = { ...query, ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }) };
    const bytes = await withUpload(c, query.path, (body) => files.write(request, body), MAX_FILE_BYTES);
    return c.json({ bytes }, 200);
  });
  api.openapi(list, async (c) => {
    const pages = await sandboxes.files(c.req.valid("param").ref).list(c.req.valid("query"));
    return ndjsonResponse(flat(pages), new AbortController()) as never;
  });
  api.openapi(operate, async (c) =>
    c.json(await sandboxes.files(c.req.valid("param").ref).operate(c.req.valid("json")), 200),
  );
}

async function* flat<T>(pages: AsyncIterable<T[]>): AsyncGenerator<T> {
  for await (const page of pages) yield* page;
}
