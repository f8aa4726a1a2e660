import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import {
  type FileChange,
  fileChange,
  filePath,
  MAX_WATCH_EXCLUDE,
  MAX_WATCH_EXCLUDES,
  SandboxError,
  watchReady,
} from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { ndjsonResponse } from "./ndjson.ts";
import { failure, queryFlag, refParam } from "./schemas.ts";

/** Changes of files as they happen, at the pace of whoever reads. */

const pattern = z.string().min(1).max(MAX_WATCH_EXCLUDE);

const watch = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/files/watch",
  operationId: "watchFiles",
  summary: "Hear of changes of a folder or a file",
  description:
    "The first line is `ready`: what happens from then on is told. The answer ends when what is watched is removed or gets another name.",
  tags: ["files"],
  request: {
    params: refParam,
    query: z.object({
      path: filePath,
      recursive: queryFlag.optional().meta({ description: "Folders below too, also those that come." }),
      exclude: z
        .union([pattern, z.array(pattern).max(MAX_WATCH_EXCLUDES)])
        .optional()
        .meta({
          description: "What is left out, with all that is in it; as `glob` of a listing. May be repeated.",
        }),
    }),
  },
  responses: {
    200: {
      description:
        "One change per line. An error on the way, also that the sandbox stopped, is the last line.",
      content: { "application/x-ndjson": { schema: z.union([watchReady, fileChange]) } },
    },
    ...failure,
  },
});

export function addFileWatchRoutes(api: OpenAPIHono, { engine: { sandboxes }, leaving }: ApiContext): void {
  api.openapi(watch, async (c) => {
    const { ref } = c.req.valid("param");
    const { exclude, ...query } = c.req.valid("query");
    const request = { ...query, ...(exclude === undefined ? {} : { exclude: [exclude].flat() }) };
    const stop = new AbortController();
    c.req.raw.signal.addEventListener("abort", () => stop.abort(), { once: true });
    const signal = AbortSignal.any([stop.signal, leaving]);
    const changes = await sandboxes.files(ref).watch(request, signal);
    return ndjsonResponse(lines(changes, leaving), stop) as never;
  });
}

async function* lines(
  changes: AsyncIterable<FileChange[]>,
  leaving: AbortSignal,
): AsyncGenerator<z.output<typeof watchReady> | FileChange> {
  yield { type: "ready" };
  try {
    for await (const several of changes) yield* several;
  } catch (error) {
    if (!leaving.aborted) throw error;
    throw new SandboxError("unavailable", "the daemon leaves, and with it ends the watch", {
      hint: "Watch again, and look at what may have changed meanwhile.",
      cause: error,
    });
  }
}
