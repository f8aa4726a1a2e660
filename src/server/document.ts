import type { OpenAPIHono } from "@hono/zod-openapi";
import { VERSION } from "../contract/index.ts";

/** The OpenAPI 3.1 description of the API, made from the schemas that also check its requests. */
export function openApiDocument(api: OpenAPIHono): object {
  return api.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Microsandbox",
      version: VERSION,
      description:
        "Runs untrusted code in microVMs. Served on the unix socket `$MSB_HOME/run/daemon.sock`, which only its owner can open. " +
        "Every error has the form `{error: {code, message, hint?, details?}}`.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers: [{ url: "http://localhost", description: "Over the daemon's unix socket." }],
  });
}
