import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { MAX_STREAM_FRAME, SandboxError } from "../contract/index.ts";
import { type SocketContext, serveAttach, serveExec, serveRun } from "./process-socket.ts";
import { errorAnswer } from "./status.ts";

/** Turns upgrade requests into process sockets, or refuses them the way a plain request is refused. */
export class Upgrades {
  readonly #context: SocketContext;
  // Compression would cost more than the copy through a local socket that it saves.
  readonly #server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_STREAM_FRAME,
    clientTracking: false,
  });

  constructor(context: SocketContext) {
    this.#context = context;
  }

  accept(request: IncomingMessage, socket: Duplex, head: Buffer, done: () => void): void {
    const serve = this.#route(request.url ?? "");
    if (serve === undefined) {
      refuse(socket, new SandboxError("not_found", `there is no WebSocket at ${request.url}`));
      done();
      return;
    }
    socket.once("close", done);
    this.#server.handleUpgrade(request, socket, head, (webSocket) => void serve(webSocket));
  }

  #route(url: string): ((socket: WebSocket) => Promise<void>) | undefined {
    const { pathname } = new URL(url, "http://localhost");
    if (pathname === "/v1/run") return (socket) => serveRun(socket, this.#context);
    const attach = /^\/v1\/sandboxes\/([^/]{1,200})\/processes\/(\d{1,10})\/attach$/.exec(pathname);
    if (attach !== null) {
      return (socket) => serveAttach(socket, this.#context, decode(attach[1]!), Number(attach[2]));
    }
    const ref = /^\/v1\/sandboxes\/([^/]{1,200})\/exec$/.exec(pathname)?.[1];
    if (ref === undefined) return undefined;
    return (socket) => serveExec(socket, this.#context, decode(ref));
  }
}

/** Answers an upgrade request with an error and ends the connection. */
export function refuse(socket: Duplex, error: unknown): void {
  const { status, body } = errorAnswer(error);
  const text = JSON.stringify(body);
  socket.on("error", () => {});
  socket.end(
    `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n` +
      `connection: close\r\n\r\n${text}`,
  );
}

function decode(ref: string): string {
  try {
    return decodeURIComponent(ref);
  } catch {
    return ref; // no sandbox has such a name; `not_found` will say so
  }
}
