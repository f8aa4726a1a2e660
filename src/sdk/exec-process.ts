import type { Readable } from "node:stream";
import { type ErrorBody, SandboxError } from "../contract/errors.ts";
import { STREAM_STDERR } from "../contract/frames.ts";
import type { ExitStatus, StreamClientMessage, StreamServerMessage } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { cancelled } from "./deadline.ts";
import { EventQueue } from "./event-queue.ts";
import { firstMessage } from "./first-message.ts";
import type { ProcessSocket } from "./process-socket.ts";
import { StdinWindow } from "./stdin-window.ts";

/** What comes out of a process: pieces of its output as they come, and last its end. */
export type ExecEvent =
  | { type: "output"; stream: "stdout" | "stderr"; data: Buffer }
  /** So many bytes are missing here: the sandbox's log had dropped them before this client took them. Of an attached process only. */
  | { type: "lost"; stream: "stdout" | "stderr"; bytes: number }
  | ({ type: "exit" } & ExitStatus);

/** Bytes of output that wait for the iteration before the process is held back. */
const OUTPUT_LIMIT = 256 * 1024;

/** The way into a process. */
export interface ExecStdin {
  /** Resolves when the bytes are on their way; slow while the process does not read. Bytes for a process that has ended go nowhere. */
  write(data: string | Uint8Array): Promise<void>;
  /** End of file. */
  end(): Promise<void>;
}

/** The messages that only `run` has. */
export type OtherMessage = Extract<StreamServerMessage, { type: "progress" | "sandbox" | "attached" }>;

/**
 * A process in a sandbox whose streams are connected to this program. Iterate it once to get its output; the iteration's pace is the
 * process's: about 256 KiB wait for it, then the process is held back. Leaving the iteration early ends the process.
 *
 * @example
 * const process = sandbox.execStream("sort");
 * await process.stdin.write("b\na\n");
 * await process.stdin.end();
 * for await (const event of process) if (event.type === "output") console.log(event.data.toString());
 */
export class ExecProcess implements AsyncIterable<ExecEvent>, AsyncDisposable {
  readonly stdin: ExecStdin;
  /** Resolves with the process's number and pid when it runs; rejects when it cannot be started. */
  readonly started: Promise<{ process: number; pid: number }>;
  /**
   * How it ended. Settles when the daemon says so, which is after all output: iterate, or use {@link wait}, or it may be held back.
   * An exit code other than 0 is no error.
   */
  readonly exit: Promise<ExitStatus>;

  readonly #started = Promise.withResolvers<{ process: number; pid: number }>();
  readonly #detached = Promise.withResolvers<void>();
  readonly #exit = Promise.withResolvers<ExitStatus>();
  readonly #socket: Promise<ProcessSocket>;
  readonly #stdin: StdinWindow;
  readonly #queue: EventQueue<ExecEvent>;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: () => void;
  #open: ProcessSocket | undefined;
  #over = false;

  constructor(
    connection: Connection,
    path: string,
    first: StreamClientMessage,
    purpose: string,
    signal: AbortSignal | undefined,
  ) {
    this.started = this.#started.promise;
    this.exit = this.#exit.promise;
    // All of them tell of the same failure; whoever looks at one of them must not be punished for the others.
    this.started.catch(() => {});
    this.exit.catch(() => {});
    this.#detached.promise.catch(() => {});
    this.#queue = new EventQueue(OUTPUT_LIMIT, (held) => {
      if (held) this.#open?.pause();
      else this.#open?.resume();
    });
    this.#signal = signal;
    this.#onAbort = () => this.fail(cancelled(signal!));
    let text = "";
    this.#socket = (async () => {
      if (signal?.aborted) throw cancelled(signal);
      text = firstMessage(first);
      return connection.processSocket(path, purpose, signal);
    })();
    this.#stdin = new StdinWindow(this.#socket);
    this.stdin = this.#stdin;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#socket.then(
      (socket) => this.#listen(socket, text),
      (error) => this.fail(error),
    );
  }

  /**
   * Sends a signal to the process group; does nothing when it has ended.
   *
   * @param signal name, as `SIGINT` or `INT`. Default: `SIGTERM`
   */
  kill(signal = "SIGTERM"): void {
    this.say({ type: "signal", signal });
  }

  /** Tells a process that has a terminal the terminal's new size; without one it does nothing. */
  resize(rows: number, cols: number): void {
    this.say({ type: "resize", rows, cols });
  }

  /**
   * Lets go of the process, which runs on. What it wrote so far is still to be iterated; then the iteration ends without an exit, and
   * {@link exit} rejects with `cancelled`. Resolves when the daemon has let go.
   */
  async detach(): Promise<void> {
    (await this.#socket).say({ type: "detach" });
    await this.#detached.promise;
  }

  /** Waits for the end; output that nobody has iterated is thrown away. */
  wait(): Promise<ExitStatus> {
    this.#queue.discard();
    return this.exit;
  }

  /** Sends a stream to stdin at the process's pace, then end of file. */
  async pipeFrom(source: Readable): Promise<void> {
    for await (const chunk of source) {
      if (this.#over) return;
      await this.stdin.write(chunk as Buffer);
    }
    await this.stdin.end();
  }

  /** Closes the connection. A process that still runs gets HUP, and KILL two seconds later. */
  close(): void {
    this.fail(new SandboxError("cancelled", "the connection to the process was closed"));
  }

  [Symbol.asyncIterator](): AsyncIterator<ExecEvent> {
    const queue = this.#queue;
    return {
      next: () => queue.next(),
      return: async () => {
        this.close();
        return { value: undefined, done: true };
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** @internal Sends a message, if there is still somebody to hear it. */
  protected say(message: StreamClientMessage): void {
    this.#socket.then(
      (socket) => socket.say(message),
      () => {},
    );
  }
  /** @internal Messages that a plain exec never gets. */
  protected onOther(_message: OtherMessage): void {}
  /** @internal It runs. */
  protected begun({ process, pid }: { process: number; pid: number }): void {
    this.#started.resolve({ process, pid });
  }
  /** @internal It ended without ever having been what it should be. */
  protected onFailure(_error: unknown): void {}

  #listen(socket: ProcessSocket, first: string): void {
    if (this.#over) {
      socket.terminate();
      return;
    }
    this.#open = socket;
    socket.sayText(first);
    socket.listen({
      onBytes: (frame) => this.#output(frame),
      onText: (text) => this.#message(JSON.parse(text) as StreamServerMessage),
      onClose: (code) => {
        const why = code === 1012 ? "the daemon is leaving" : "the connection to the daemon broke";
        this.fail(
          new SandboxError("unavailable", `lost the process: ${why}`, {
            hint: "the sandbox itself may go on; msb ls shows it",
          }),
        );
      },
    });
  }

  #output(frame: Buffer): void {
    const stream = frame[0] === STREAM_STDERR ? "stderr" : "stdout";
    this.#queue.push({ type: "output", stream, data: frame.subarray(1) }, frame.length);
  }

  #message(message: StreamServerMessage): void {
    switch (message.type) {
      case "started":
        this.#started.resolve({ process: message.process, pid: message.pid });
        break;
      case "stdin_window":
        this.#stdin.grant(message.bytes);
        break;
      case "exit":
        this.#finish();
        this.#queue.push({ type: "exit", ...message.status }, 0);
        this.#queue.end();
        this.#exit.resolve(message.status);
        this.#detached.resolve();
        break;
      case "lost":
        this.#queue.push({ type: "lost", stream: message.stream, bytes: message.bytes }, 0);
        break;
      case "detached":
        this.#finish();
        this.#queue.end();
        this.#exit.reject(new SandboxError("cancelled", "let go of the process, which runs on"));
        this.#detached.resolve();
        break;
      case "error":
        this.fail(SandboxError.fromBody(message.error as ErrorBody));
        break;
      default:
        this.onOther(message);
    }
  }

  /** @internal The connection is closed, and whoever waits hears why. */
  protected fail(error: unknown): void {
    if (this.#over) return;
    this.#finish();
    this.#open?.terminate();
    this.onFailure(error);
    this.#started.reject(error);
    this.#exit.reject(error);
    this.#detached.reject(error);
    this.#queue.end(error);
  }

  #finish(): void {
    this.#over = true;
    this.#stdin.close();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
