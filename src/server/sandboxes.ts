import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { SANDBOX_STATES, SandboxError, sandboxInfo, sandboxSpec } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { longOperation } from "./long-operation.ts";
import { createSandbox } from "./prepared.ts";
import { failure, json, queryFlag, queryInt, refParam } from "./schemas.ts";

/** Life of sandboxes: create, list, inspect, start, pause, suspend, resume, stop, kill, remove. */

const tags = ["sandboxes"];

const create = createRoute({
  method: "post",
  path: "/v1/sandboxes",
  operationId: "createSandbox",
  summary: "Create and start a sandbox",
  description:
    "An image may be a prepared snapshot by its name: the sandbox goes on from there. With `Accept: application/x-ndjson` a slow answer (a template has to be built first) is lines of `OperationMessage`.",
  tags,
  request: {
    query: z.object({
      held: queryFlag.optional().meta({
        description: "Its command waits for `begin`, and its files can be written before. Default: false.",
      }),
    }),
    body: { required: true, content: { "application/json": { schema: sandboxSpec } } },
  },
  responses: { 201: json(sandboxInfo, "The running sandbox."), ...failure },
});

const begin = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/begin",
  operationId: "beginSandbox",
  summary: "Start the command of a sandbox that was created held",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxInfo, "The sandbox; its command runs."), ...failure },
});

const list = createRoute({
  method: "get",
  path: "/v1/sandboxes",
  operationId: "listSandboxes",
  summary: "List sandboxes",
  tags,
  request: {
    query: z.object({
      state: z
        .union([z.enum(SANDBOX_STATES), z.array(z.enum(SANDBOX_STATES))])
        .optional()
        .meta({ description: "Only those in this state; may be repeated." }),
      label: z
        .union([z.string(), z.array(z.string())])
        .optional()
        .meta({ description: "Only those with this label, as `key=value`; may be repeated." }),
    }),
  },
  responses: { 200: json(z.object({ sandboxes: z.array(sandboxInfo) }), "Oldest first."), ...failure },
});

const inspect = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}",
  operationId: "getSandbox",
  summary: "Get one sandbox",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxInfo, "The sandbox."), ...failure },
});

const start = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/start",
  operationId: "startSandbox",
  summary: "Start a stopped sandbox with the disk it had",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxInfo, "The running sandbox."), ...failure },
});

const pause = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/pause",
  operationId: "pauseSandbox",
  summary: "Have a sandbox stand still",
  description: "It keeps all that is in its memory, and goes on when it is resumed or used.",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxInfo, "The paused sandbox."), ...failure },
});

const suspend = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/suspend",
  operationId: "suspendSandbox",
  summary: "Store a sandbox on disk and end its VM",
  description: "It goes on from there, with its name and its processes, when it is resumed or used.",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxInfo, "The suspended sandbox."), ...failure },
});

const resume = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/resume",
  operationId: "resumeSandbox",
  summary: "Have a paused or suspended sandbox go on",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxInfo, "The running sandbox."), ...failure },
});

const stop = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/stop",
  operationId: "stopSandbox",
  summary: "Stop a sandbox in an orderly way",
  tags,
  request: {
    params: refParam,
    query: z.object({
      graceMs: queryInt(0, 600_000)
        .optional()
        .meta({ description: "Between TERM and KILL, in milliseconds. Default: 5000." }),
    }),
  },
  responses: { 200: json(sandboxInfo, "The stopped sandbox."), ...failure },
});

const kill = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/kill",
  operationId: "killSandbox",
  summary: "End a sandbox's VM at once",
  tags,
  request: { params: refParam },
  responses: { 200: json(sandboxInfo, "The stopped sandbox."), ...failure },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/sandboxes/{ref}",
  operationId: "removeSandbox",
  summary: "Remove a sandbox and its disk",
  tags,
  request: {
    params: refParam,
    query: z.object({
      force: queryFlag.optional().meta({ description: "Kill it first if it runs. Default: false." }),
    }),
  },
  responses: { 204: { description: "It is gone." }, ...failure },
});

export function addSandboxRoutes(api: OpenAPIHono, { engine }: ApiContext): void {
  const { sandboxes } = engine;
  api.openapi(create, (c) => {
    const spec = c.req.valid("json");
    const { held = false } = c.req.valid("query");
    return longOperation(c, 201, (context) => createSandbox(engine, spec, context, { held })) as never;
  });
  api.openapi(begin, async (c) => c.json(await sandboxes.begin(c.req.valid("param").ref), 200));
  api.openapi(list, (c) => {
    const { state, label } = c.req.valid("query");
    const states = state === undefined ? undefined : [state].flat();
    const labels = label === undefined ? undefined : parseLabels([label].flat());
    return c.json(
      { sandboxes: sandboxes.list({ ...(states && { states }), ...(labels && { labels }) }) },
      200,
    );
  });
  api.openapi(inspect, (c) => c.json(sandboxes.get(c.req.valid("param").ref), 200));
  api.openapi(start, (c) => {
    const { ref } = c.req.valid("param");
    return longOperation(c, 200, (context) => sandboxes.start(ref, context)) as never;
  });
  api.openapi(pause, async (c) => c.json(await sandboxes.pause(c.req.valid("param").ref), 200));
  api.openapi(suspend, async (c) => c.json(await sandboxes.suspend(c.req.valid("param").ref), 200));
  api.openapi(resume, async (c) => c.json(await sandboxes.resume(c.req.valid("param").ref), 200));
  api.openapi(stop, async (c) => {
    const { graceMs } = c.req.valid("query");
    const options = graceMs === undefined ? {} : { graceMs };
    return c.json(await sandboxes.stop(c.req.valid("param").ref, options), 200);
  });
  api.openapi(kill, async (c) => c.json(await sandboxes.kill(c.req.valid("param").ref), 200));
  api.openapi(remove, async (c) => {
    await sandboxes.remove(c.req.valid("param").ref, { force: c.req.valid("query").force ?? false });
    return c.body(null, 204);
  });
}

function parseLabels(pairs: string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw new SandboxError("invalid_argument", `query: \`label\`: "${pair}" is not of the form key=value`);
    }),
  );
}
