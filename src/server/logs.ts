import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { LOG_STREAMS, logRecord } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { ndjsonResponse } from "./ndjson.ts";
import { failure, json, queryFlag, queryInt, refParam } from "./schemas.ts";

/** What processes wrote, and the VM's console. */

const tags = ["logs"];

const moment = z.iso.datetime({ offset: true });

const several = <T extends z.ZodType>(schema: T) => z.union([schema, z.array(schema).max(1_024)]);

const logs = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/logs",
  operationId: "getLogs",
  summary: "Read what processes wrote",
  tags,
  request: {
    params: refParam,
    query: z.object({
      follow: queryFlag.optional().meta({ description: "Go on until the sandbox is removed." }),
      tail: queryInt(0, 1_000_000).optional().meta({ description: "Only the last so many records." }),
      since: moment.optional().meta({ description: "Only what was written from then on." }),
      until: moment.optional().meta({ description: "Only what was written up to then." }),
      process: several(queryInt(0, 2 ** 31 - 1))
        .optional()
        .meta({ description: "Only of this process, by its number; may be repeated." }),
      stream: several(z.enum(LOG_STREAMS))
        .optional()
        .meta({ description: "Only of this stream; may be repeated." }),
      grep: z.string().min(1).max(1024).optional().meta({
        description: "Only lines that contain this text, each as a record of its own. It is no pattern.",
      }),
    }),
  },
  responses: {
    200: {
      description: "One record per line, oldest first.",
      content: { "application/x-ndjson": { schema: logRecord } },
    },
    ...failure,
  },
});

const console_ = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/console",
  operationId: "getConsole",
  summary: "Read the end of the VM's console",
  tags,
  request: {
    params: refParam,
    query: z.object({
      maxBytes: queryInt(1, 16 * 1024 * 1024)
        .optional()
        .meta({ description: "Default: 65536." }),
    }),
  },
  responses: { 200: json(z.object({ console: z.string() }), "The text, oldest first."), ...failure },
});

export function addLogRoutes(api: OpenAPIHono, { engine, leaving }: ApiContext): void {
  api.openapi(logs, (c) => {
    const { ref } = c.req.valid("param");
    const { process, stream, ...query } = c.req.valid("query");
    engine.sandboxes.get(ref); // `not_found` has to be a status, not a line
    const stop = new AbortController();
    return ndjsonResponse(
      engine.sandboxes.logs(ref, {
        ...query,
        processes: process === undefined ? undefined : [process].flat(),
        streams: stream === undefined ? undefined : [stream].flat(),
        signal: AbortSignal.any([stop.signal, leaving]),
      }),
      stop,
    ) as never;
  });
  api.openapi(console_, async (c) => {
    const { maxBytes } = c.req.valid("query");
    return c.json({ console: await engine.sandboxes.console(c.req.valid("param").ref, maxBytes) }, 200);
  });
}
