import type { RawData, WebSocket } from "ws";
import type { z } from "zod";
import { SandboxError, STDIN_WINDOW, STREAM_STDIN, streamClientMessage } from "../contract/index.ts";
import type { ProcessControls } from "../engine/index.ts";
import { parseInput } from "./validation.ts";

type Message = z.output<typeof streamClientMessage>;

/** How long a client may take to say what it wants. */
const FIRST_MESSAGE_MS = 30_000;
/** Consumed bytes are handed back as window in pieces of at least this, so that small writes do not cost a message each. */
const WINDOW_STEP = STDIN_WINDOW / 8;

/**
 * The client's side of a process socket. It may talk before its process exists (that saves a round trip), so stdin and signals
 * wait here until `attach`.
 *
 * Memory is bounded twice: a client keeps to the window it was given, which leaves the way free for signals; one that does not is
 * paused, signals and all.
 */
export class ClientMessages {
  readonly #socket: WebSocket;
  readonly #first = Promise.withResolvers<Message>();
  #gotFirst = false;
  #process: ProcessControls | undefined;
  #signals: string[] = [];
  #size: { rows: number; cols: number } | undefined;
  readonly #begun = Promise.withResolvers<void>();
  readonly #detached = Promise.withResolvers<"detached">();
  #stdin: Buffer[] = [];
  #queued = 0;
  #consumed = 0;
  #stdinEnded = false;
  #stdinBroken = false;
  #writing = false;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    this.#first.promise.catch(() => {});
    this.#begun.promise.catch(() => {});
    const timer = setTimeout(() => {
      this.#first.reject(
        new SandboxError(
          "timeout",
          `the client said nothing for ${FIRST_MESSAGE_MS / 1000} s after connecting`,
        ),
      );
    }, FIRST_MESSAGE_MS);
    this.#first.promise.finally(() => clearTimeout(timer)).catch(() => {});
    socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    socket.on("close", () => {
      this.#first.reject(new SandboxError("cancelled", "the client went away before it said what to run"));
      this.#begun.reject(new SandboxError("cancelled", "the client went away before the command began"));
    });
  }

  /** The message that starts it all. */
  async first<T extends "exec" | "run" | "attach">(type: T): Promise<Extract<Message, { type: T }>> {
    const message = await this.#first.promise;
    if (message.type === type) return message as Extract<Message, { type: T }>;
    throw new SandboxError(
      "invalid_argument",
      `the first message must be \`${type}\`, it was \`${message.type}\``,
    );
  }

  /** Resolves when a command that was held back may begin; rejects when the client goes before. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  /** Resolves when the client wants to go and leave the process running. */
  get detached(): Promise<"detached"> {
    return this.#detached.promise;
  }

  /** From now on the process gets what the client sends. */
  attach(process: ProcessControls): void {
    this.#process = process;
    for (const signal of this.#signals.splice(0)) this.#signal(process, signal);
    if (this.#size !== undefined) this.#resize(process, this.#size);
    void this.#pump();
  }

  #receive(data: RawData, isBinary: boolean): void {
    try {
      if (isBinary) this.#receiveStdin(data as Buffer);
      else this.#receiveText(data as Buffer);
    } catch (error) {
      // Before the start it is the answer to the request. Afterwards the connection is not to be trusted any more.
      if (this.#gotFirst) this.#socket.close(1008, "a message that is not valid");
      else this.#first.reject(error);
    }
  }

  #receiveText(data: Buffer): void {
    const message = parseInput("message", streamClientMessage, parseJson(data));
    switch (message.type) {
      case "exec":
      case "run":
      case "attach":
        if (this.#gotFirst) throw new SandboxError("invalid_argument", "one connection carries one process");
        this.#gotFirst = true;
        this.#first.resolve(message);
        break;
      case "begin":
        this.#mustHaveBegun(message.type);
        this.#begun.resolve();
        break;
      case "stdin_end":
        this.#mustHaveBegun(message.type);
        this.#stdinEnded = true;
        void this.#pump();
        break;
      case "signal":
        this.#mustHaveBegun(message.type);
        if (this.#process) this.#signal(this.#process, message.signal);
        else if (this.#signals.length < 16) this.#signals.push(message.signal);
        break;
      case "resize":
        this.#mustHaveBegun(message.type);
        this.#size = message;
        if (this.#process) this.#resize(this.#process, message);
        break;
      case "detach":
        this.#mustHaveBegun(message.type);
        this.#detached.resolve("detached");
        break;
    }
  }

  #receiveStdin(frame: Buffer): void {
    this.#mustHaveBegun("stdin");
    if (frame[0] !== STREAM_STDIN)
      throw new SandboxError("invalid_argument", `stream ${frame[0]} is not stdin`);
    if (this.#stdinBroken || this.#stdinEnded) return;
    this.#stdin.push(frame.subarray(1));
    this.#queued += frame.length - 1;
    if (this.#queued > STDIN_WINDOW) this.#socket.pause();
    void this.#pump();
  }

  #mustHaveBegun(what: string): void {
    if (this.#gotFirst) return;
    throw new SandboxError(
      "invalid_argument",
      `the first message must be \`exec\`, \`run\` or \`attach\`, not ${what}`,
    );
  }

  async #pump(): Promise<void> {
    const process = this.#process;
    if (process === undefined || this.#writing) return;
    this.#writing = true;
    try {
      for (let chunk = this.#stdin.shift(); chunk !== undefined; chunk = this.#stdin.shift()) {
        await process.write(chunk);
        this.#queued -= chunk.length;
        this.#giveWindow(chunk.length);
      }
      if (this.#stdinEnded) process.endStdin();
    } catch {
      // The process closed its stdin or ended. What is left of the input has no reader; the exit will tell the client.
      this.#stdinBroken = true;
      this.#stdin = [];
      this.#queued = 0;
      this.#resume();
    } finally {
      this.#writing = false;
    }
  }

  #giveWindow(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed >= WINDOW_STEP) {
      if (this.#socket.readyState === this.#socket.OPEN) {
        this.#socket.send(JSON.stringify({ type: "stdin_window", bytes: this.#consumed }));
      }
      this.#consumed = 0;
    }
    this.#resume();
  }

  #resume(): void {
    if (this.#socket.isPaused && this.#queued <= STDIN_WINDOW / 2) this.#socket.resume();
  }

  #resize(process: ProcessControls, { rows, cols }: { rows: number; cols: number }): void {
    try {
      process.resize(rows, cols);
    } catch {
      // as with a signal
    }
  }

  #signal(process: ProcessControls, signal: string): void {
    try {
      process.signal(signal);
    } catch {
      // Unknown, or the process has just ended: neither is a reason to end what the client watches.
    }
  }
}

function parseJson(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString("utf8"));
  } catch (cause) {
    throw new SandboxError("invalid_argument", "the message is not JSON", { cause });
  }
}
