import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { templateInfo, templateShape } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { longOperation } from "./long-operation.ts";
import { failure, json } from "./schemas.ts";

/** Templates: the stored VM states that sandboxes start from. */

const tags = ["templates"];

const list = createRoute({
  method: "get",
  path: "/v1/templates",
  operationId: "listTemplates",
  summary: "List templates",
  tags,
  responses: { 200: json(z.object({ templates: z.array(templateInfo) }), "All of them."), ...failure },
});

const build = createRoute({
  method: "post",
  path: "/v1/templates",
  operationId: "buildTemplate",
  summary: "Build the template of a shape, unless it is there",
  tags,
  request: { body: { required: true, content: { "application/json": { schema: templateShape } } } },
  responses: { 200: json(templateInfo, "The template."), ...failure },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/templates/{key}",
  operationId: "removeTemplate",
  summary: "Remove a template",
  tags,
  request: {
    params: z.object({
      key: z
        .string()
        .regex(/^[0-9a-zA-Z_-]{1,128}$/, "is not a template key")
        .meta({ description: "The key, or a prefix of it that is unique." }),
    }),
  },
  responses: { 204: { description: "It is gone." }, ...failure },
});

export function addTemplateRoutes(api: OpenAPIHono, { engine }: ApiContext): void {
  api.openapi(list, async (c) => c.json({ templates: await engine.templates.list() }, 200));
  api.openapi(build, (c) => {
    const shape = c.req.valid("json");
    return longOperation(c, 200, (context) => engine.templates.build(shape, context)) as never;
  });
  api.openapi(remove, async (c) => {
    await engine.templates.remove(c.req.valid("param").key);
    return c.body(null, 204);
  });
}
