import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import {
  ARCHIVE_FORMATS,
  IMAGE_CONFIG_HEADER,
  imageInfo,
  imageRef,
  pullRequest,
  pushRequest,
  pushResult,
} from "../contract/index.ts";
import { byteResponse, TAR, tarAnswer } from "./byte-response.ts";
import type { ApiContext } from "./context.ts";
import { nameQuery } from "./images.ts";
import { longOperation } from "./long-operation.ts";
import { failure, json, refParam } from "./schemas.ts";
import { jsonHeader, tarBody, withUpload } from "./upload.ts";

/** Images on their way: from and to registries, archives and root file system tars. */

const tags = ["images"];
const progressNote = "Accepts NDJSON for progress as `createSandbox` does.";

const pull = createRoute({
  method: "post",
  path: "/v1/images/pull",
  operationId: "pullImage",
  summary: "Fetch an image from its registry, ready to run",
  description: `What is here already is not fetched again. ${progressNote}`,
  tags,
  request: { body: { required: true, content: { "application/json": { schema: pullRequest } } } },
  responses: { 200: json(imageInfo, "The image."), ...failure },
});

const push = createRoute({
  method: "post",
  path: "/v1/images/push",
  operationId: "pushImage",
  summary: "Give an image to a registry",
  description: progressNote,
  tags,
  request: { body: { required: true, content: { "application/json": { schema: pushRequest } } } },
  responses: { 200: json(pushResult, "As the registry knows it now."), ...failure },
});

const import_ = createRoute({
  method: "post",
  path: "/v1/images/import",
  operationId: "importImage",
  summary: "Make an image of a root file system tar",
  description: `The body is the tar: plain, gzip or zstd. ${progressNote}`,
  tags,
  request: {
    query: z.object({ name: imageRef.meta({ description: "Name to give it.", example: "my/image" }) }),
    headers: z.object({
      [IMAGE_CONFIG_HEADER]: z
        .string()
        .optional()
        .meta({ description: "OCI image config: base64 of JSON, at most 64 KiB." }),
    }),
    body: tarBody,
  },
  responses: { 201: json(imageInfo, "The image."), ...failure },
});

const load = createRoute({
  method: "post",
  path: "/v1/images/load",
  operationId: "loadImages",
  summary: "Read the images of an archive",
  description: `The body is an OCI layout as a tar, or what \`docker save\` wrote: plain, gzip or zstd. ${progressNote}`,
  tags,
  request: { body: tarBody },
  responses: { 200: json(z.object({ images: z.array(imageInfo) }), "The images."), ...failure },
});

const save = createRoute({
  method: "get",
  path: "/v1/images/save",
  operationId: "saveImages",
  summary: "Write images as one archive",
  tags,
  request: {
    query: z.object({
      name: z
        .union([imageRef, z.array(imageRef).max(256)])
        .meta({ description: "Name or digest of an image; may be repeated." }),
      format: z.enum(ARCHIVE_FORMATS).optional().meta({
        description: "An OCI layout, which `docker load` reads too, or as `docker save`. Default: oci.",
      }),
    }),
  },
  responses: { 200: tarAnswer("The archive."), ...failure },
});

const export_ = createRoute({
  method: "get",
  path: "/v1/images/export",
  operationId: "exportImage",
  summary: "Write an image's file system as one tar",
  tags,
  request: { query: nameQuery },
  responses: { 200: tarAnswer("The merged file system."), ...failure },
});

const exportSandbox = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/export",
  operationId: "exportSandbox",
  summary: "Write a running sandbox's file system as one tar",
  tags: ["sandboxes"],
  request: { params: refParam },
  responses: { 200: tarAnswer("Its image with what it has written on top."), ...failure },
});

export function addImageTransferRoutes(api: OpenAPIHono, { engine, log }: ApiContext): void {
  const { images, sandboxes } = engine;
  api.openapi(pull, (c) => {
    const request = c.req.valid("json");
    return longOperation(c, 200, (context) => images.pull(request, context)) as never;
  });
  api.openapi(push, (c) => {
    const request = c.req.valid("json");
    return longOperation(c, 200, (context) => images.push(request, context)) as never;
  });
  api.openapi(import_, (c) => {
    const { name } = c.req.valid("query");
    const config = jsonHeader(c, IMAGE_CONFIG_HEADER, "the image config");
    return longOperation(c, 201, (context) =>
      withUpload(c, `image ${name}`, (tar) =>
        images.import(name, tar, { ...context, ...(config === undefined ? {} : { config }) }),
      ),
    ) as never;
  });
  api.openapi(load, (c) => {
    return longOperation(c, 200, (context) =>
      withUpload(c, "an archive of images", async (tar) => ({ images: await images.load(tar, context) })),
    ) as never;
  });
  api.openapi(save, (c) => {
    const { name, format } = c.req.valid("query");
    return byteResponse(c, log, TAR, (signal) =>
      images.save([name].flat(), { signal, ...(format === undefined ? {} : { format }) }),
    ) as never;
  });
  api.openapi(export_, (c) => {
    const { name } = c.req.valid("query");
    return byteResponse(c, log, TAR, (signal) => images.export(name, { signal })) as never;
  });
  api.openapi(exportSandbox, (c) => {
    const { ref } = c.req.valid("param");
    return byteResponse(c, log, TAR, (signal) => sandboxes.export(ref, { signal })) as never;
  });
}
