import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { check, healthInfo, versionInfo } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { failure, json } from "./schemas.ts";

/** The daemon itself: health, version, checks of the host, shutdown. */

const tags = ["system"];

const health = createRoute({
  method: "get",
  path: "/v1/health",
  operationId: "health",
  summary: "Ask whether the daemon is well",
  tags,
  responses: { 200: json(healthInfo, "It is."), ...failure },
});

const version = createRoute({
  method: "get",
  path: "/v1/version",
  operationId: "version",
  summary: "Versions of the daemon and of what it uses",
  tags,
  responses: { 200: json(versionInfo, "The versions."), ...failure },
});

const doctor = createRoute({
  method: "get",
  path: "/v1/doctor",
  operationId: "doctor",
  summary: "What this host can do, what is missing and what mends it",
  tags,
  responses: { 200: json(z.object({ checks: z.array(check) }), "The findings."), ...failure },
});

const shutdown = createRoute({
  method: "post",
  path: "/v1/shutdown",
  operationId: "shutdown",
  summary: "Ask the daemon to exit",
  description: "Sandboxes go on; the next daemon adopts them.",
  tags,
  responses: { 202: json(z.object({ pid: z.int() }), "It exits once this answer is sent."), ...failure },
});

export function addSystemRoutes(api: OpenAPIHono, context: ApiContext): void {
  const { engine } = context;
  api.openapi(health, (c) =>
    c.json(
      {
        status: "ok" as const,
        pid: process.pid,
        home: engine.home,
        startedAt: context.startedAt.toISOString(),
        sandboxes: engine.sandboxes.runningCount(),
        build: context.build,
      },
      200,
    ),
  );
  api.openapi(version, async (c) => c.json(await engine.version(), 200));
  api.openapi(doctor, async (c) => {
    return c.json({ checks: await engine.doctor({ signal: c.req.raw.signal }) }, 200);
  });
  api.openapi(shutdown, (c) => {
    context.leave("it was asked to");
    return c.json({ pid: process.pid }, 202);
  });
}
