import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Http2SecureServer } from "node:http2";
import { join, normalize } from "node:path";
import { WebSocketServer } from "ws";
import { serveGit } from "./git-http.ts";

/**
 * The web of the test's internet. Of HTTP/2 it gets Node's compatible requests and responses.
 *
 *     /                   a greeting
 *     /version            which version of HTTP was spoken
 *     /echo               gives back what it is sent, while it is sent
 *     /redirect?URL       leads there
 *     /git/…              repositories, by git's own protocol
 *     all others          files of the folder
 */
export async function serveWeb(
  folder: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // As the client wrote it, with all of a URL that is in the query.
  const [path, query = ""] = splitAt(request.url ?? "/", "?");
  if (path === "/") {
    response.end(`hello from the internet\n`);
  } else if (path === "/version") {
    response.end(`HTTP/${request.httpVersion}\n`);
  } else if (path === "/echo") {
    response.writeHead(200);
    request.pipe(response);
  } else if (path === "/redirect") {
    response.writeHead(302, { location: query });
    response.end();
  } else if (path.startsWith("/git/")) {
    serveGit(join(folder, "git"), path.slice("/git".length), query, request, response);
  } else {
    await serveFile(join(folder, normalize(path)), response);
  }
}

/** A folder's page is its `index.html`. */
async function serveFile(file: string, response: ServerResponse): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found?.isDirectory()) return serveFile(join(file, "index.html"), response);
  if (found === undefined) {
    response.writeHead(404);
    response.end("not found\n");
    return;
  }
  const type = file.endsWith(".html") ? "text/html" : "application/octet-stream";
  response.writeHead(200, { "content-type": type, "content-length": found.size });
  createReadStream(file).pipe(response);
}

/** Gives back each message of a WebSocket, at any path. */
export function answerWebSockets(server: Server | Http2SecureServer): void {
  const sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (opened) => {
      opened.on("message", (data, binary) => opened.send(data, { binary }));
    });
  });
}

function splitAt(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
