import { writeFileSync } from "node:fs";
import type { Engine } from "../engine/index.ts";
import { createApi } from "./api.ts";
import { openApiDocument } from "./document.ts";

/** `npm run openapi`: writes `spec/openapi.json`. */

// The document is made of the routes alone; no engine is ever asked.
const { signal } = new AbortController();
const api = createApi({
  engine: {} as Engine,
  build: "",
  startedAt: new Date(0),
  leaving: signal,
  log() {},
  leave() {},
});
const target = new URL("../../spec/openapi.json", import.meta.url);
writeFileSync(target, `${JSON.stringify(openApiDocument(api), null, 2)}\n`);
