import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import {
  networkChanges,
  networkExplanation,
  networkQuestion,
  networkRecord,
  networkSpec,
  networkStatistics,
} from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { ndjsonResponse } from "./ndjson.ts";
import { failure, json, queryFlag, queryInt, refParam } from "./schemas.ts";

/** A sandbox's network: what was decided, what would be, and what decides. */

const tags = ["network"];

const jsonBody = <T extends z.ZodType>(schema: T) => ({
  body: { required: true, content: { "application/json": { schema } } },
});

const records = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/network/log",
  operationId: "getNetworkLog",
  summary: "Read what the network of a sandbox decided",
  tags,
  request: {
    params: refParam,
    query: z.object({
      follow: queryFlag.optional().meta({ description: "Go on until the sandbox is removed." }),
      tail: queryInt(0, 1_000_000).optional().meta({ description: "Only the last so many." }),
    }),
  },
  responses: {
    200: {
      description: "One decision per line, oldest first.",
      content: { "application/x-ndjson": { schema: networkRecord } },
    },
    ...failure,
  },
});

const test = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/network/test",
  operationId: "testNetwork",
  summary: "Tell what would be decided, and why; nothing is connected to",
  tags,
  request: { params: refParam, ...jsonBody(networkQuestion) },
  responses: { 200: json(networkExplanation, "For each address."), ...failure },
});

const statistics = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/network/statistics",
  operationId: "getNetworkStatistics",
  summary: "What has gone through the network of a sandbox",
  tags,
  request: { params: refParam },
  responses: { 200: json(networkStatistics, "Since its start."), ...failure },
});

const update = createRoute({
  method: "patch",
  path: "/v1/sandboxes/{ref}/network",
  operationId: "updateNetwork",
  summary: "Change the rules or limits of a sandbox; what is no longer allowed is closed",
  tags,
  request: { params: refParam, ...jsonBody(networkChanges) },
  responses: { 200: json(networkSpec, "The network as it is now."), ...failure },
});

export function addNetworkRoutes(api: OpenAPIHono, { engine, leaving }: ApiContext): void {
  const networkOf = (ref: string) => engine.sandboxes.network(ref);
  api.openapi(records, (c) => {
    const network = networkOf(c.req.valid("param").ref);
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, leaving]);
    return ndjsonResponse(network.records({ ...c.req.valid("query"), signal }), stop) as never;
  });
  api.openapi(test, async (c) =>
    c.json(await networkOf(c.req.valid("param").ref).test(c.req.valid("json")), 200),
  );
  api.openapi(statistics, async (c) => c.json(await networkOf(c.req.valid("param").ref).statistics(), 200));
  api.openapi(update, async (c) =>
    c.json(await networkOf(c.req.valid("param").ref).update(c.req.valid("json")), 200),
  );
}
