import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { processInfo, processSignal, processStart, SandboxError } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { socketAnswer } from "./exec.ts";
import { failure, json, queryInt, refParam } from "./schemas.ts";

/** Processes that go on without their client: start, list, inspect, wait, signal; and the description of attach. */

const tags = ["processes"];
const processParam = refParam.extend({
  process: queryInt(0, 2 ** 31 - 1).meta({ description: "Number of the process within its sandbox." }),
});

const start = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/processes",
  operationId: "startProcess",
  summary: "Start a process that goes on without its client",
  description: "Its output goes to the sandbox's log, and to whoever attaches.",
  tags,
  request: {
    params: refParam,
    body: { required: true, content: { "application/json": { schema: processStart } } },
  },
  responses: { 201: json(processInfo, "The running process."), ...failure },
});

const list = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/processes",
  operationId: "listProcesses",
  summary: "List processes that run, and the last 128 that have ended",
  tags,
  request: { params: refParam },
  responses: { 200: json(z.object({ processes: z.array(processInfo) }), "Oldest first."), ...failure },
});

const inspect = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/processes/{process}",
  operationId: "getProcess",
  summary: "Get one process",
  tags,
  request: { params: processParam },
  responses: { 200: json(processInfo, "The process."), ...failure },
});

const wait = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/processes/{process}/wait",
  operationId: "waitProcess",
  summary: "Wait until a process has ended",
  description: "The answer comes when it has ended, or was lost with its VM. Asking again does no harm.",
  tags,
  request: { params: processParam },
  responses: { 200: json(processInfo, "The process, which runs no more."), ...failure },
});

const signal = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/processes/{process}/signal",
  operationId: "signalProcess",
  summary: "Send a signal to a process, its group or its tree",
  tags,
  request: {
    params: processParam,
    body: { required: true, content: { "application/json": { schema: processSignal } } },
  },
  responses: { 204: { description: "It was sent." }, ...failure },
});

/** Upgrades never reach the routes; this describes one in the document. */
const attach = createRoute({
  method: "get",
  path: "/v1/sandboxes/{ref}/processes/{process}/attach",
  operationId: "attachProcess",
  summary: "Attach to a process over a WebSocket",
  description:
    "The first message is `attach`; the answer is `attached`, then the output that is kept from there on, then what comes. Any number of clients may attach; none of them holds the process.",
  tags,
  request: { params: processParam },
  responses: socketAnswer,
});

export function addProcessRoutes(api: OpenAPIHono, { engine, leaving }: ApiContext): void {
  const of = (ref: string) => engine.sandboxes.processes(ref);
  api.openapi(start, async (c) => {
    const spec = c.req.valid("json");
    return c.json(await of(c.req.valid("param").ref).start(spec as never, { signal: c.req.raw.signal }), 201);
  });
  api.openapi(list, (c) => c.json({ processes: of(c.req.valid("param").ref).list() }, 200));
  api.openapi(inspect, (c) => {
    const { ref, process } = c.req.valid("param");
    return c.json(of(ref).get(process), 200);
  });
  api.openapi(wait, async (c) => {
    const { ref, process } = c.req.valid("param");
    try {
      const over = AbortSignal.any([c.req.raw.signal, leaving]);
      return c.json(await of(ref).wait(process, { signal: over }), 200);
    } catch (error) {
      if (!leaving.aborted) throw error;
      throw new SandboxError("unavailable", "the daemon is leaving", {
        hint: "Ask again: the process goes on.",
      });
    }
  });
  api.openapi(signal, (c) => {
    const { ref, process } = c.req.valid("param");
    const { signal: name, scope } = c.req.valid("json");
    of(ref).signal(process, name, scope);
    return c.body(null, 204);
  });
  api.openAPIRegistry.registerPath(attach);
}
