import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createSecureServer } from "node:http2";
import { serveEcho } from "./echo.ts";
import { serveNames } from "./names.ts";
import type { ServerSettings } from "./settings.ts";
import { answerWebSockets, serveWeb } from "./web.ts";

/**
 * All servers of the test's internet in one process, which `Internet` starts in the namespace that stands for it: the web on 80 and 443
 * (HTTP/2 too), names on 53, echo on 7 and 5000. They listen on all
 * addresses of both families.
 */

const settings = JSON.parse(process.argv[2]!) as ServerSettings;
const handle = (request: IncomingMessage, response: ServerResponse) =>
  void serveWeb(settings.folder, request, response);
const plain = createServer(handle);
const secure = createSecureServer(
  { key: readFileSync(settings.key), cert: readFileSync(settings.certificate), allowHTTP1: true },
  handle as unknown as Parameters<typeof createSecureServer>[1],
);
answerWebSockets(plain);
answerWebSockets(secure);
await Promise.all([
  new Promise<void>((resolve) => plain.listen(80, "::", resolve)),
  new Promise<void>((resolve) => secure.listen(443, "::", resolve)),
  serveEcho(7, settings.addresses),
  serveEcho(5000, settings.addresses),
  serveNames(53, settings.zone),
]);
console.log("listening");
