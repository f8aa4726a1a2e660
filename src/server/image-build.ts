import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { BUILD_REQUEST_HEADER, buildRequest, imageInfo } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { longOperation } from "./long-operation.ts";
import { failure, json } from "./schemas.ts";
import { jsonHeader, tarBody, withUpload } from "./upload.ts";
import { parseInput } from "./validation.ts";

/** Building an image of a Dockerfile. */

const build = createRoute({
  method: "post",
  path: "/v1/images/build",
  operationId: "buildImage",
  summary: "Build an image of a Dockerfile, every step in a sandbox of its own",
  description:
    "The body is the tar of the build's context: plain, gzip or zstd. Accepts NDJSON for progress as `createSandbox` does; there, `output` is what the steps write.",
  tags: ["images"],
  request: {
    headers: z.object({
      [BUILD_REQUEST_HEADER]: z
        .string()
        .optional()
        .meta({ description: "`BuildRequest`: base64 of JSON, at most 64 KiB. Default: `{}`." }),
    }),
    body: tarBody,
  },
  responses: { 201: json(imageInfo, "The image."), ...failure },
});

export function addImageBuildRoutes(api: OpenAPIHono, { engine: { images } }: ApiContext): void {
  // A header carries it, so no route has it as a body, and the document would not know it.
  const { $schema: _, ...schema } = z.toJSONSchema(z.strictObject(buildRequest.shape), { io: "input" });
  api.openAPIRegistry.registerComponent("schemas", "BuildRequest", schema as object);
  api.openapi(build, (c) => {
    const sent = jsonHeader(c, BUILD_REQUEST_HEADER, "the build request") ?? {};
    const request = parseInput("build request", buildRequest, sent);
    return longOperation(c, 201, (context) =>
      withUpload(c, "a build's context", (tar) => images.build(tar, request, context)),
    ) as never;
  });
}
