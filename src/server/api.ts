import { OpenAPIHono } from "@hono/zod-openapi";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import { SandboxError } from "../contract/index.ts";
import { addArchiveRoutes } from "./archive.ts";
import type { ApiContext } from "./context.ts";
import { openApiDocument } from "./document.ts";
import { addEventRoutes } from "./events.ts";
import { addExecRoutes } from "./exec.ts";
import { addFileWatchRoutes } from "./file-watch.ts";
import { addFileRoutes } from "./files.ts";
import { addImageBuildRoutes } from "./image-build.ts";
import { addImageTransferRoutes } from "./image-transfer.ts";
import { addImageRoutes } from "./images.ts";
import { addLogRoutes } from "./logs.ts";
import { addMetricsRoutes } from "./metrics.ts";
import { addNetworkRoutes } from "./network.ts";
import { addPoolRoutes } from "./pools.ts";
import { addProcessRoutes } from "./processes.ts";
import { addRegistryRoutes } from "./registries.ts";
import { addSandboxRoutes } from "./sandboxes.ts";
import { addSnapshotRoutes } from "./snapshots.ts";
import { errorResponse, logIfInternal } from "./status.ts";
import { addSystemRoutes } from "./system.ts";
import { addTemplateRoutes } from "./templates.ts";
import { invalidArgument } from "./validation.ts";
import { addVolumeRoutes } from "./volumes.ts";

export type { ApiContext } from "./context.ts";

/** Room for 16 MiB of stdin as base64, and its command. */
const MAX_JSON_BYTES = 24 * 1024 * 1024;
/** What takes a tar, a snapshot or a file as its body, with a larger bound of its own (upload.ts). */
const STREAMED =
  /^\/v1\/(?:images\/(?:import|load|build)|snapshots\/import|sandboxes\/[^/]+\/(?:files\/content|archive))$/;

/** The HTTP API, without its transport. */
export function createApi(context: ApiContext): OpenAPIHono {
  const api = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw invalidArgument(PART_NAMES[result.target] ?? result.target, result.error);
    },
  });
  api.onError((thrown, c) => {
    const error = thrown instanceof HTTPException ? fromHono(thrown) : thrown;
    logIfInternal(error, `${c.req.method} ${c.req.path}`, context.log);
    return errorResponse(error);
  });
  api.notFound((c) =>
    errorResponse(
      new SandboxError("not_found", `there is no ${c.req.method} ${c.req.path}`, {
        hint: "GET /v1/openapi.json lists what there is",
      }),
    ),
  );
  const limit = bodyLimit({
    maxSize: MAX_JSON_BYTES,
    onError: () =>
      errorResponse(
        new SandboxError("invalid_argument", `the request's body is larger than ${MAX_JSON_BYTES} bytes`),
      ),
  });
  api.use((c, next) => (STREAMED.test(c.req.path) ? next() : limit(c, next)));

  addSandboxRoutes(api, context);
  addSnapshotRoutes(api, context);
  addExecRoutes(api, context);
  addFileRoutes(api, context);
  addArchiveRoutes(api, context);
  addFileWatchRoutes(api, context);
  addProcessRoutes(api, context);
  addLogRoutes(api, context);
  addMetricsRoutes(api, context);
  addNetworkRoutes(api, context);
  addEventRoutes(api, context);
  addImageRoutes(api, context);
  addImageTransferRoutes(api, context);
  addImageBuildRoutes(api, context);
  addRegistryRoutes(api, context);
  addTemplateRoutes(api, context);
  addPoolRoutes(api, context);
  addVolumeRoutes(api, context);
  addSystemRoutes(api, context);
  api.get("/v1/openapi.json", (c) => c.json(openApiDocument(api)));
  return api;
}

const PART_NAMES: Record<string, string> = { json: "body", query: "query", param: "path", header: "headers" };

function fromHono(error: HTTPException): SandboxError {
  const code = error.status >= 500 ? "internal" : "invalid_argument";
  return new SandboxError(code, error.message === "" ? "the request is not valid" : error.message, {
    cause: error,
  });
}
