/**
 * The daemon: it offers the engine over HTTP and WebSockets on a unix socket, starts on demand, is alone in its home, and leaves
 * when nothing needs it. It owns the socket, the lock and the log of the daemon, and the OpenAPI document. It never decides how a
 * sandbox works: every route is a translation of one engine call.
 */
export { type ApiContext, createApi } from "./api.ts";
export { type Daemon, type DaemonOptions, startDaemon } from "./daemon.ts";
export { openApiDocument } from "./document.ts";
