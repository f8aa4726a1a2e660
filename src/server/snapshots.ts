import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import {
  forkRequest,
  restoreRequest,
  sandboxInfo,
  snapshotInfo,
  snapshotName,
  snapshotRef,
  snapshotRequest,
} from "../contract/index.ts";
import { byteResponse } from "./byte-response.ts";
import type { ApiContext } from "./context.ts";
import { longOperation } from "./long-operation.ts";
import { passphraseHeader, passphraseOf } from "./passphrase.ts";
import { failure, json, refParam } from "./schemas.ts";
import { withUpload } from "./upload.ts";

/** Stored states: fork a sandbox, store it as a snapshot, and what is done with snapshots. */

/** A file beyond this is a mistake or an attack. */
const MAX_SNAPSHOT_BYTES = 1024 ** 4;
const EXPORTED = "application/octet-stream";

const tags = ["snapshots"];
const params = z.object({
  ref: snapshotRef.meta({ description: "Name or id of the snapshot.", example: "my-snapshot" }),
});
const progressNote = "Accepts NDJSON for progress as `createSandbox` does.";
const sandboxesOf = (description: string) => json(z.object({ sandboxes: z.array(sandboxInfo) }), description);
const binary = { [EXPORTED]: { schema: { type: "string", format: "binary" } as const } };

const fork = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/fork",
  operationId: "forkSandbox",
  summary: "Make sandboxes that go on from where a running one is",
  description: `It goes on too. Its connections stay with it; in the others they are reset. ${progressNote}`,
  tags: ["sandboxes"],
  request: {
    params: refParam,
    body: { required: true, content: { "application/json": { schema: forkRequest } } },
  },
  responses: { 201: sandboxesOf("The new sandboxes, which run."), ...failure },
});

const create = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/snapshots",
  operationId: "createSnapshot",
  summary: "Store the state of a sandbox",
  description: `One that runs with its memory, its processes and its disks, one that is stopped with its disks. ${progressNote}`,
  tags,
  request: {
    params: refParam,
    body: { required: true, content: { "application/json": { schema: snapshotRequest } } },
  },
  responses: { 201: json(snapshotInfo, "The snapshot."), ...failure },
});

const list = createRoute({
  method: "get",
  path: "/v1/snapshots",
  operationId: "listSnapshots",
  summary: "List snapshots",
  tags,
  responses: { 200: json(z.object({ snapshots: z.array(snapshotInfo) }), "Oldest first."), ...failure },
});

const import_ = createRoute({
  method: "post",
  path: "/v1/snapshots/import",
  operationId: "importSnapshot",
  summary: "Read an exported snapshot",
  description: `The body is what \`exportSnapshot\` gave, maybe on another host. ${progressNote}`,
  tags,
  request: {
    query: z.object({
      name: snapshotName.optional().meta({ description: "Name to give it. Default: the one it had." }),
    }),
    headers: passphraseHeader("The passphrase that it was exported with."),
    body: { required: true, content: binary },
  },
  responses: { 201: json(snapshotInfo, "The snapshot."), ...failure },
});

const get = createRoute({
  method: "get",
  path: "/v1/snapshots/{ref}",
  operationId: "getSnapshot",
  summary: "Get one snapshot",
  tags,
  request: { params },
  responses: { 200: json(snapshotInfo, "The snapshot."), ...failure },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/snapshots/{ref}",
  operationId: "removeSnapshot",
  summary: "Remove a snapshot",
  description: "What was made of it stays whole: sandboxes, and snapshots of those.",
  tags,
  request: { params },
  responses: { 204: { description: "It is gone." }, ...failure },
});

const verify = createRoute({
  method: "post",
  path: "/v1/snapshots/{ref}/verify",
  operationId: "verifySnapshot",
  summary: "Read all of a snapshot and compare it with its checksums",
  description: `\`internal\`, naming the file, if it is damaged. ${progressNote}`,
  tags,
  request: { params },
  responses: { 200: json(snapshotInfo, "The snapshot, which is whole."), ...failure },
});

const restore = createRoute({
  method: "post",
  path: "/v1/snapshots/{ref}/restore",
  operationId: "restoreSnapshot",
  summary: "Make sandboxes that go on from a snapshot",
  description: `They share what none of them has written. ${progressNote}`,
  tags,
  request: {
    params,
    body: { required: true, content: { "application/json": { schema: restoreRequest } } },
  },
  responses: { 201: sandboxesOf("The new sandboxes."), ...failure },
});

const export_ = createRoute({
  method: "get",
  path: "/v1/snapshots/{ref}/export",
  operationId: "exportSnapshot",
  summary: "Write a snapshot as one file",
  description: "It holds all that was in the sandbox's memory, so its secrets too.",
  tags,
  request: { params, headers: passphraseHeader("Encrypts it. Default: it is not encrypted.") },
  responses: {
    200: { description: "A tar within zstd; with a passphrase, within age.", content: binary },
    ...failure,
  },
});

export function addSnapshotRoutes(api: OpenAPIHono, { engine, log }: ApiContext): void {
  const { sandboxes, snapshots } = engine;
  api.openapi(fork, (c) => {
    const request = c.req.valid("json");
    const { ref } = c.req.valid("param");
    return longOperation(c, 201, async (context) => ({
      sandboxes: await sandboxes.fork(ref, request, context),
    })) as never;
  });
  api.openapi(create, (c) => {
    const request = c.req.valid("json");
    const { ref } = c.req.valid("param");
    return longOperation(c, 201, (context) => snapshots.create(ref, request, context)) as never;
  });
  api.openapi(list, async (c) => c.json({ snapshots: await snapshots.list() }, 200));
  api.openapi(import_, (c) => {
    const { name } = c.req.valid("query");
    const passphrase = passphraseOf(c);
    const options = { ...(name !== undefined && { name }), ...(passphrase !== undefined && { passphrase }) };
    return longOperation(c, 201, (context) =>
      withUpload(
        c,
        "a snapshot",
        (file) => snapshots.import(file, { ...context, ...options }),
        MAX_SNAPSHOT_BYTES,
      ),
    ) as never;
  });
  api.openapi(get, async (c) => c.json(await snapshots.get(c.req.valid("param").ref), 200));
  api.openapi(remove, async (c) => {
    await snapshots.remove(c.req.valid("param").ref);
    return c.body(null, 204);
  });
  api.openapi(verify, (c) => {
    const { ref } = c.req.valid("param");
    return longOperation(c, 200, (context) => snapshots.verify(ref, context)) as never;
  });
  api.openapi(restore, (c) => {
    const request = c.req.valid("json");
    const { ref } = c.req.valid("param");
    return longOperation(c, 201, async (context) => ({
      sandboxes: await snapshots.restore(ref, request, context),
    })) as never;
  });
  api.openapi(export_, (c) => {
    const { ref } = c.req.valid("param");
    const passphrase = passphraseOf(c);
    return byteResponse(c, log, EXPORTED, (signal) =>
      snapshots.export(ref, { signal, ...(passphrase !== undefined && { passphrase }) }),
    ) as never;
  });
}
