import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import {
  imageDetail,
  imageInfo,
  imageRef,
  imageUsage,
  pruneReport,
  pruneRequest,
  tagRequest,
} from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { failure, json } from "./schemas.ts";

/** The images that are here: list, inspect, tag, remove, prune, usage. */

const tags = ["images"];

/** By which name, in a query: names have slashes. */
export const nameQuery = z.object({
  name: imageRef.meta({ description: "Name or digest of the image.", example: "my/image" }),
});

const list = createRoute({
  method: "get",
  path: "/v1/images",
  operationId: "listImages",
  summary: "List images",
  tags,
  responses: { 200: json(z.object({ images: z.array(imageInfo) }), "By name."), ...failure },
});

const inspect = createRoute({
  method: "get",
  path: "/v1/images/inspect",
  operationId: "inspectImage",
  summary: "Get all that is known of an image",
  tags,
  request: { query: nameQuery },
  responses: { 200: json(imageDetail, "The image."), ...failure },
});

const tag = createRoute({
  method: "post",
  path: "/v1/images/tag",
  operationId: "tagImage",
  summary: "Give an image another name",
  description: "The image that had the name before loses it.",
  tags,
  request: { body: { required: true, content: { "application/json": { schema: tagRequest } } } },
  responses: { 200: json(imageInfo, "The image under its new name."), ...failure },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/images",
  operationId: "removeImage",
  summary: "Remove an image, or one of its names",
  description: "With the last name goes the image; while sandboxes stand on it that is `invalid_state`.",
  tags,
  request: { query: nameQuery },
  responses: { 204: { description: "It is gone." }, ...failure },
});

const prune = createRoute({
  method: "post",
  path: "/v1/images/prune",
  operationId: "pruneImages",
  summary: "Free what nothing refers to",
  tags,
  request: { body: { required: true, content: { "application/json": { schema: pruneRequest } } } },
  responses: { 200: json(pruneReport, "What was freed."), ...failure },
});

const usage = createRoute({
  method: "get",
  path: "/v1/images/usage",
  operationId: "getImageUsage",
  summary: "Say where the space of the image store went",
  tags,
  responses: { 200: json(imageUsage, "The space."), ...failure },
});

export function addImageRoutes(api: OpenAPIHono, { engine: { images } }: ApiContext): void {
  api.openapi(list, async (c) => c.json({ images: await images.list() }, 200));
  api.openapi(inspect, async (c) => c.json(await images.inspect(c.req.valid("query").name), 200));
  api.openapi(tag, async (c) => {
    const { source, target } = c.req.valid("json");
    return c.json(await images.tag(source, target), 200);
  });
  api.openapi(remove, async (c) => {
    await images.remove(c.req.valid("query").name);
    return c.body(null, 204);
  });
  api.openapi(prune, async (c) => c.json(await images.prune(c.req.valid("json")), 200));
  api.openapi(usage, async (c) => c.json(await images.usage(), 200));
}
