import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { volumeInfo, volumeName, volumePruneReport, volumeRequest } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { failure, json } from "./schemas.ts";

/** Volumes: named disks that outlive sandboxes. */

const tags = ["volumes"];
const request = { params: z.object({ name: volumeName }) };

const list = createRoute({
  method: "get",
  path: "/v1/volumes",
  operationId: "listVolumes",
  summary: "List volumes",
  tags,
  responses: { 200: json(z.object({ volumes: z.array(volumeInfo) }), "All of them."), ...failure },
});

const create = createRoute({
  method: "post",
  path: "/v1/volumes",
  operationId: "createVolume",
  summary: "Create a volume",
  tags,
  request: { body: { required: true, content: { "application/json": { schema: volumeRequest } } } },
  responses: { 201: json(volumeInfo, "The volume."), ...failure },
});

const prune = createRoute({
  method: "post",
  path: "/v1/volumes/prune",
  operationId: "pruneVolumes",
  summary: "Remove the volumes that no sandbox has among its mounts",
  tags,
  responses: { 200: json(volumePruneReport, "What was removed."), ...failure },
});

const get = createRoute({
  method: "get",
  path: "/v1/volumes/{name}",
  operationId: "getVolume",
  summary: "Get a volume",
  tags,
  request,
  responses: { 200: json(volumeInfo, "The volume."), ...failure },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/volumes/{name}",
  operationId: "removeVolume",
  summary: "Remove a volume that no sandbox has among its mounts",
  tags,
  request,
  responses: { 204: { description: "It is gone." }, ...failure },
});

export function addVolumeRoutes(api: OpenAPIHono, { engine }: ApiContext): void {
  api.openapi(list, async (c) => c.json({ volumes: await engine.volumes.list() }, 200));
  api.openapi(create, async (c) => c.json(await engine.volumes.create(c.req.valid("json")), 201));
  api.openapi(prune, async (c) => c.json(await engine.volumes.prune(), 200));
  api.openapi(get, async (c) => c.json(await engine.volumes.get(c.req.valid("param").name), 200));
  api.openapi(remove, async (c) => {
    await engine.volumes.remove(c.req.valid("param").name);
    return c.body(null, 204);
  });
}
