import { setTimeout as sleep } from "node:timers/promises";
import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { SandboxError, type SandboxMetrics, sandboxMetrics } from "../contract/index.ts";
import type { Engine } from "../engine/index.ts";
import type { ApiContext } from "./context.ts";
import { ndjsonResponse } from "./ndjson.ts";
import { PROMETHEUS_TYPE, prometheusText } from "./prometheus.ts";
import { failure, json, queryInt, refParam } from "./schemas.ts";

/** What sandboxes use. */

const tags = ["metrics"];
const DEFAULT_INTERVAL_MS = 1_000;
/** Each look costs the guest some work. */
const MIN_INTERVAL_MS = 100;

const one = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/metrics",
  operationId: "getMetrics",
  summary: "What a running sandbox uses now",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxMetrics, "Its metrics."), ...failure },
});

const watch = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/metrics/watch",
  operationId: "watchMetrics",
  summary: "What a running sandbox uses, again and again until it stops",
  tags,
  request: {
    params: refParam,
    query: z.object({
      intervalMs: queryInt(MIN_INTERVAL_MS, 3_600_000)
        .optional()
        .meta({ description: "Between two looks. Default: 1000." }),
    }),
  },
  responses: {
    200: {
      description: "One look per line.",
      content: { "application/x-ndjson": { schema: sandboxMetrics } },
    },
    ...failure,
  },
});

const all = createRoute({
  method: "get",
  path: "/v1/metrics",
  operationId: "listMetrics",
  summary: "What all running sandboxes use now",
  tags,
  responses: {
    200: json(z.object({ metrics: z.array(sandboxMetrics) }), "Oldest sandbox first."),
    ...failure,
  },
});

const prometheus = createRoute({
  method: "get",
  path: "/metrics",
  operationId: "scrapeMetrics",
  summary: "What all running sandboxes use now, for Prometheus",
  tags,
  responses: {
    200: {
      description: "Prometheus' text format 0.0.4.",
      content: { [PROMETHEUS_TYPE]: { schema: z.string() } },
    },
    ...failure,
  },
});

export function addMetricsRoutes(api: OpenAPIHono, { engine, leaving }: ApiContext): void {
  const { sandboxes } = engine;
  api.openapi(one, async (c) => c.json(await sandboxes.metrics(c.req.valid("param").ref), 200));
  api.openapi(watch, async (c) => {
    const { ref } = c.req.valid("param");
    const { intervalMs = DEFAULT_INTERVAL_MS } = c.req.valid("query");
    // What is wrong has to be a status, not a line.
    const first = await sandboxes.metrics(ref);
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, leaving]);
    return ndjsonResponse(looks(engine, first, intervalMs, signal), stop) as never;
  });
  api.openapi(all, async (c) => c.json({ metrics: await sandboxes.allMetrics() }, 200));
  api.openapi(prometheus, async (c) => {
    const text = prometheusText(await sandboxes.allMetrics(), sandboxes.runningCount(), engine.pools.list());
    return c.body(text, 200, { "content-type": PROMETHEUS_TYPE }) as never;
  });
}

async function* looks(
  { sandboxes }: Engine,
  first: SandboxMetrics,
  intervalMs: number,
  signal: AbortSignal,
): AsyncGenerator<SandboxMetrics> {
  yield first;
  for (;;) {
    const ended = await sleep(intervalMs, false, { signal }).catch(() => true);
    if (ended) return;
    try {
      yield await sandboxes.metrics(first.sandbox);
    } catch (error) {
      const { code } = SandboxError.from(error);
      // It has stopped, is gone, or was going while it was looked at.
      if (code === "invalid_state" || code === "not_found" || code === "unavailable") return;
      throw error;
    }
  }
}
