import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { connect } from "node:net";
import { WebSocket } from "ws";
import { MAX_STREAM_FRAME, STREAM_STDIN } from "../contract/frames.ts";
import type { StreamClientMessage } from "../contract/index.ts";
import { errorOf } from "./error-of.ts";

/** A WebSocket that carries a process, open. */
export class ProcessSocket {
  readonly webSocket: WebSocket;

  constructor(webSocket: WebSocket) {
    this.webSocket = webSocket;
  }

  say(message: StreamClientMessage): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.send(JSON.stringify(message));
  }

  /** Sends bytes of stdin; resolves when the socket has taken them. Stays within one frame. */
  sendStdin(bytes: Uint8Array): Promise<void> {
    const frame = Buffer.allocUnsafe(bytes.length + 1);
    frame[0] = STREAM_STDIN;
    frame.set(bytes, 1);
    return new Promise((resolve) => {
      this.webSocket.send(frame, { binary: true }, () => resolve()); // a failure shows as `close`
    });
  }
}

/** Connects; fails like a plain request would, with the daemon's error or the connection's. */
export function openSocket(
  socketPath: string,
  path: string,
  headers: OutgoingHttpHeaders,
  onHeaders: (headers: NodeJS.Dict<string | string[]>) => void,
): Promise<ProcessSocket> {
  return new Promise((resolve, reject) => {
    const webSocket = new WebSocket(`ws://localhost${path}`, {
      createConnection: () => connect(socketPath),
      headers: headers as Record<string, string>,
      perMessageDeflate: false,
      maxPayload: MAX_STREAM_FRAME,
    });
    webSocket.once("upgrade", (response: IncomingMessage) => onHeaders(response.headers));
    webSocket.once("open", () => {
      webSocket.off("error", reject);
      webSocket.on("error", () => {}); // `close` follows
      // Messages may come with the same packet as the upgrade; they wait until somebody listens.
      webSocket.pause();
      resolve(new ProcessSocket(webSocket));
    });
    webSocket.on("error", reject);
    webSocket.once("unexpected-response", (_request, response: IncomingMessage) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.once("close", () => reject(errorOf(text, response.statusCode)));
    });
  });
}
