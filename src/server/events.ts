import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { event } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { failure, queryInt } from "./schemas.ts";

/** What happens, as Server-Sent Events. The id of each is its sequence number, so a client that comes back misses nothing. */

const subscribe = createRoute({
  method: "get",
  path: "/v1/events",
  operationId: "subscribeEvents",
  summary: "Hear of events as they happen",
  tags: ["events"],
  request: {
    query: z.object({
      since: queryInt(0, Number.MAX_SAFE_INTEGER).optional().meta({
        description: "First the events after this number. Default: `Last-Event-ID`, else only new ones.",
      }),
    }),
  },
  responses: {
    200: { description: "A stream of events.", content: { "text/event-stream": { schema: event } } },
    ...failure,
  },
});

/** A comment now and then shows a dead connection to whoever sits between. */
const HEARTBEAT_MS = 15_000;

export function addEventRoutes(api: OpenAPIHono, { engine, leaving }: ApiContext): void {
  api.openapi(subscribe, (c) => {
    const lastId = c.req.header("last-event-id");
    const resumed = lastId !== undefined && /^\d{1,15}$/.test(lastId) ? Number(lastId) : undefined;
    const since = c.req.valid("query").since ?? resumed;
    const stop = new AbortController();
    const source = engine.events.subscribe({
      signal: AbortSignal.any([stop.signal, leaving]),
      ...(since === undefined ? {} : { since }),
    });
    return eventStream(source, stop) as never;
  });
}

function eventStream(source: AsyncIterable<z.output<typeof event>>, stop: AbortController): Response {
  const encoder = new TextEncoder();
  const iterator = source[Symbol.asyncIterator]();
  let heartbeat: NodeJS.Timeout | undefined;
  const end = () => {
    clearInterval(heartbeat);
    stop.abort();
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      // The headers go out with the first bytes; a client has to know that it is connected.
      controller.enqueue(encoder.encode(": connected\n\n"));
      heartbeat = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(": alive\n\n"));
      }, HEARTBEAT_MS);
    },
    async pull(controller) {
      try {
        const next = await iterator.next();
        if (next.done === true) {
          end();
          controller.close();
        } else {
          const { seq, type } = next.value;
          controller.enqueue(
            encoder.encode(`id: ${seq}\nevent: ${type}\ndata: ${JSON.stringify(next.value)}\n\n`),
          );
        }
      } catch (error) {
        const gone = stop.signal.aborted;
        end();
        if (gone) controller.close();
        else controller.error(error);
      }
    },
    async cancel() {
      end();
      await iterator.return?.();
    },
  });
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}
