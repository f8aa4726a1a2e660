import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { filePath } from "../contract/index.ts";
import { byteResponse, TAR, tarAnswer } from "./byte-response.ts";
import type { ApiContext } from "./context.ts";
import { failure, queryFlag, queryInt, refParam } from "./schemas.ts";
import { tarBody, withUpload } from "./upload.ts";

/** Files and folders of a running sandbox as tars, both ways at the pace of the slower end. */

const tags = ["files"];
const MAX_ID = 2 ** 32 - 2;
const owner = (what: string) =>
  queryInt(0, MAX_ID)
    .optional()
    .meta({ description: `${what} that the files get. Default: 0.` });

const pack = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/archive",
  operationId: "packFiles",
  summary: "Read a file or a folder as a tar",
  description:
    "Names begin with the last of the path; if that is `.`, and for `/`, with `.`. Left out are sockets and what the kernel makes up.",
  tags,
  request: {
    params: refParam,
    query: z.object({
      path: filePath,
      follow: queryFlag
        .optional()
        .meta({ description: "If it is a link, pack what it leads to. Links below are not followed." }),
    }),
  },
  responses: { 200: tarAnswer("The tar. A connection that breaks off: not all of it."), ...failure },
});

const extract = createRoute({
  method: "put",
  path: "/v1/sandboxes/{ref}/archive",
  operationId: "extractFiles",
  summary: "Put a tar's files into a folder",
  description:
    "The folder must be there. Files replace files, folders are added to; a file never replaces a folder, nor a folder a file. What was put there before an error stays.",
  tags,
  request: {
    params: refParam,
    query: z.object({
      path: filePath,
      uid: owner("User"),
      gid: owner("Group"),
      keepOwners: queryFlag
        .optional()
        .meta({ description: "Take the owners from the tar, by number. Default: false." }),
    }),
    body: tarBody,
  },
  responses: { 204: { description: "All of it is there." }, ...failure },
});

/** No file system of a sandbox holds more. */
const MAX_ARCHIVE_BYTES = 16 * 1024 ** 4;

export function addArchiveRoutes(api: OpenAPIHono, { engine: { sandboxes }, log }: ApiContext): void {
  api.openapi(pack, (c) => {
    const files = sandboxes.files(c.req.valid("param").ref);
    return byteResponse(c, log, TAR, (signal) => files.pack(c.req.valid("query"), signal)) as never;
  });
  api.openapi(extract, async (c) => {
    const files = sandboxes.files(c.req.valid("param").ref);
    const query = c.req.valid("query");
    await withUpload(c, query.path, (tar) => files.extract(query, tar), MAX_ARCHIVE_BYTES);
    return c.body(null, 204);
  });
}
