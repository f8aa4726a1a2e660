import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { Duplex } from "node:stream";
import { MAX_STREAM_FRAME, STREAM_STDIN } from "../contract/frames.ts";
import type { StreamClientMessage } from "../contract/index.ts";
import { errorOf } from "./error-of.ts";
import { encodeFrame, FrameDecoder, OPCODE, type Opcode } from "./frames.ts";

// Not imported for the reason given in connection.ts.
const { request } = process.getBuiltinModule("node:http");

const STDIN_TAG = Uint8Array.of(STREAM_STDIN);
/** "The connection ended without a close frame" (RFC 6455, 7.4.1). */
const ABNORMAL = 1006;

/** Who hears what comes over a process socket. */
export interface ProcessSocketListener {
  onText(text: string): void;
  onBytes(frame: Buffer): void;
  /** @param code of the close frame; 1006 if there was none */
  onClose(code: number): void;
}

/** The WebSocket that carries a process, open. Nothing is read before `listen`. */
export class ProcessSocket {
  readonly #socket: Duplex;
  readonly #head: Buffer;
  #closeCode = ABNORMAL;

  constructor(socket: Duplex, head: Buffer) {
    this.#socket = socket;
    this.#head = head;
    socket.on("error", () => {}); // `close` follows
  }

  listen(listener: ProcessSocketListener): void {
    const decoder = new FrameDecoder(MAX_STREAM_FRAME, (opcode, payload) =>
      this.#onFrame(listener, opcode, payload),
    );
    const push = (chunk: Buffer) => {
      try {
        decoder.push(chunk);
      } catch (error) {
        this.#socket.destroy(error as Error);
      }
    };
    this.#socket.once("close", () => listener.onClose(this.#closeCode));
    this.#socket.on("data", push);
    if (this.#head.length > 0) push(this.#head);
  }

  say(message: StreamClientMessage): void {
    this.sayText(JSON.stringify(message));
  }

  /** A message as JSON already. */
  sayText(text: string): void {
    this.#write(encodeFrame(OPCODE.text, Buffer.from(text)));
  }

  /** Sends bytes of stdin, at most a frame's; resolves when the socket has taken them, or never will. */
  sendStdin(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#write(encodeFrame(OPCODE.binary, STDIN_TAG, bytes), resolve);
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Ends the connection at once. */
  terminate(): void {
    this.#socket.destroy();
  }

  #onFrame(listener: ProcessSocketListener, opcode: Opcode, payload: Buffer): void {
    switch (opcode) {
      case OPCODE.text:
        listener.onText(payload.toString("utf8"));
        break;
      case OPCODE.binary:
        listener.onBytes(payload);
        break;
      case OPCODE.ping:
        this.#write(encodeFrame(OPCODE.pong, payload));
        break;
      case OPCODE.close:
        if (payload.length >= 2) this.#closeCode = payload.readUInt16BE(0);
        this.#write(encodeFrame(OPCODE.close, payload.subarray(0, 2)));
        this.#socket.end();
        break;
      case OPCODE.pong:
        break;
    }
  }

  #write(frame: Buffer, done: () => void = () => {}): void {
    if (this.#socket.writable) this.#socket.write(frame, done);
    else done();
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
    const handshake = request({
      socketPath,
      path,
      agent: false,
      headers: {
        ...headers,
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        // The key guards against caches and servers that do not know the protocol; here the peer is known.
        "sec-websocket-key": "bWljcm9zYW5kYm94LTAwMQ==",
      },
    });
    handshake.once("upgrade", (response: IncomingMessage, socket: Duplex, head: Buffer) => {
      onHeaders(response.headers);
      resolve(new ProcessSocket(socket, head));
    });
    handshake.once("response", (response: IncomingMessage) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.once("close", () => reject(errorOf(text, response.statusCode)));
    });
    handshake.on("error", reject);
    handshake.end();
  });
}
