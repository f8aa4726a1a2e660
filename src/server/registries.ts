import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { loginRequest } from "../contract/index.ts";
import type { ApiContext } from "./context.ts";
import { failure } from "./schemas.ts";

/** Credentials for registries. */

const tags = ["registries"];

const login = createRoute({
  method: "post",
  path: "/v1/registries/login",
  operationId: "loginToRegistry",
  summary: "Keep credentials for a registry, if it takes them",
  tags,
  request: { body: { required: true, content: { "application/json": { schema: loginRequest } } } },
  responses: { 204: { description: "It takes them, and they are kept." }, ...failure },
});

const logout = createRoute({
  method: "delete",
  path: "/v1/registries/login",
  operationId: "logoutFromRegistry",
  summary: "Forget the credentials for a registry",
  tags,
  request: {
    query: z.object({
      registry: z
        .string()
        .min(1)
        .max(255)
        .meta({ description: "Host of the registry.", example: "docker.io" }),
    }),
  },
  responses: { 204: { description: "They are forgotten." }, ...failure },
});

export function addRegistryRoutes(api: OpenAPIHono, { engine: { images } }: ApiContext): void {
  api.openapi(login, async (c) => {
    await images.login(c.req.valid("json"), { signal: c.req.raw.signal });
    return c.body(null, 204);
  });
  api.openapi(logout, async (c) => {
    await images.logout(c.req.valid("query").registry);
    return c.body(null, 204);
  });
}
