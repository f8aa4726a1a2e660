import type { WebSocket } from "ws";
import { type ExitStatus, MAX_STREAM_FRAME, STREAM_STDERR, STREAM_STDOUT } from "../contract/index.ts";
import type { EngineProcess } from "../engine/index.ts";

/** Beyond this many bytes that a client has not taken, the process is held back. */
const HIGH_WATER = 512 * 1024;

/**
 * Sends a process's output to the client, at the client's pace: the promise that the engine gets settles when the socket has taken
 * enough. Resolves with the exit status once the last byte is handed to the socket, or `"gone"` when the client went first.
 */
export async function sendOutput(socket: WebSocket, process: EngineProcess): Promise<ExitStatus | "gone"> {
  let waiting: (() => void) | undefined;
  const wake = () => {
    waiting?.();
    waiting = undefined;
  };
  const gone = new Promise<"gone">((resolve) => {
    const close = () => {
      wake(); // nobody reads any more, so nobody needs to be waited for
      resolve("gone");
    };
    if (socket.readyState === socket.OPEN) socket.once("close", close);
    else close();
  });

  let pending = 0;
  process.onOutput((stream, chunk) => {
    if (socket.readyState !== socket.OPEN) return undefined;
    const tag = stream === "stdout" ? STREAM_STDOUT : STREAM_STDERR;
    for (const frame of frames(tag, chunk)) {
      pending += frame.length;
      socket.send(frame, { binary: true, compress: false }, () => {
        pending -= frame.length;
        if (pending <= HIGH_WATER / 2) wake();
      });
    }
    if (pending <= HIGH_WATER) return undefined;
    return new Promise<void>((resolve) => {
      const others = waiting;
      waiting = () => {
        others?.();
        resolve();
      };
    });
  });
  return await Promise.race([process.exited, gone]);
}

/** Sends a piece of output; resolves when the socket has taken it, or never will. */
export async function sendPiece(socket: WebSocket, stream: "stdout" | "stderr", data: Buffer): Promise<void> {
  const tag = stream === "stdout" ? STREAM_STDOUT : STREAM_STDERR;
  for (const frame of frames(tag, data)) {
    if (socket.readyState !== socket.OPEN) return;
    await new Promise<void>((taken) => socket.send(frame, { binary: true, compress: false }, () => taken()));
  }
}

function* frames(tag: number, chunk: Buffer): Generator<Buffer> {
  const step = MAX_STREAM_FRAME - 1;
  for (let at = 0; at < chunk.length; at += step) {
    const part = chunk.subarray(at, at + step);
    const frame = Buffer.allocUnsafe(part.length + 1);
    frame[0] = tag;
    part.copy(frame, 1);
    yield frame;
  }
}
