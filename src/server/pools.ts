import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { poolInfo, poolRequest } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { longOperation } from "./long-operation.ts";
import { failure, json } from "./schemas.ts";

/** Pools: VMs that are loaded and wait to become sandboxes. */

const tags = ["pools"];

const list = createRoute({
  method: "get",
  path: "/v1/pools",
  operationId: "listPools",
  summary: "List pools",
  tags,
  responses: {
    200: json(z.object({ pools: z.array(poolInfo) }), "What is wanted, and what is ready."),
    ...failure,
  },
});

const set = createRoute({
  method: "put",
  path: "/v1/pools",
  operationId: "setPool",
  summary: "Keep VMs of an image and a shape ready",
  description:
    "From now on, also in the next daemon. They are made while nobody's sandbox is being started. Accepts NDJSON for progress as `createSandbox` does.",
  tags,
  request: { body: { required: true, content: { "application/json": { schema: poolRequest } } } },
  responses: { 200: json(poolInfo, "The pool; it is being filled."), ...failure },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/pools",
  operationId: "removePools",
  summary: "Keep none of an image any more",
  tags,
  request: {
    query: z.object({
      image: z
        .string()
        .min(1)
        .max(512)
        .meta({ description: "The image, as it was named; pools of all shapes." }),
    }),
  },
  responses: { 204: { description: "They are gone." }, ...failure },
});

export function addPoolRoutes(api: OpenAPIHono, { engine }: ApiContext): void {
  const { pools } = engine;
  api.openapi(list, (c) => c.json({ pools: pools.list() }, 200));
  api.openapi(set, (c) => {
    const request = c.req.valid("json");
    return longOperation(c, 200, (context) => pools.set(request, context)) as never;
  });
  api.openapi(remove, async (c) => {
    await pools.remove(c.req.valid("query").image);
    return c.body(null, 204);
  });
}
