import { SandboxError } from "../../contract/errors.ts";
import { encodeClose, encodeResize, encodeSignal, type SignalScope } from "./commands.ts";
import { type ProcessExit, readProcessMessage } from "./control.ts";
import { decodeCredit, type Frame, FrameType, StreamId } from "./frame.ts";
import { DEFAULT_WINDOW_BYTES, Output } from "./output.ts";
import { type OutputChunk, type OutputName, PendingOutput } from "./pending-output.ts";
import type { Sender } from "./sender.ts";
import { Stdin } from "./stdin.ts";
import { violation } from "./violation.ts";

/**
 * Takes a process's output: the stream, the offset of the chunk's first byte since the process's start, and the
 * chunk, which is empty at the end of that stream. Calls never overlap: when it returns a promise, what arrives
 * meanwhile is gathered and given afterwards. When it throws or rejects, `exited` rejects with that and the
 * process waits, as its output finds no reader.
 */
export type OutputHandler = (stream: OutputName, offset: number, chunk: Buffer) => void | Promise<void>;

/** Bytes that the guest had dropped before a new host came. */
export interface LostOutput {
  stdout: number;
  stderr: number;
}

/** What a process needs of its connection. */
export interface ProcessLink {
  sender: Sender;
  /** The channel is done with; what still arrives on it is dropped. */
  forget(channel: number): void;
}

/** Where a process stands when its channel begins; `pid` is 0 until the guest has started it. */
export interface ProcessOrigin {
  channel: number;
  pid: number;
  /** False when it was started without one. */
  stdin: boolean;
  stdinReceived: number;
  stdoutStart: number;
  stderrStart: number;
}

/**
 * The host's end of one process. Made by `AgentConnection.start` and `.adopt` only.
 *
 * The owner must acknowledge output (`ack`) to get more of it, and `release` the process when all is taken.
 */
export class GuestProcess {
  readonly channel: number;
  /**
   * How the process ended, after all its output was given to the output handler and the handler was done with it: it
   * waits for a handler, if there was output.
   * Rejects with the connection's reason when that ends first, with `cancelled` after an early `release`.
   */
  readonly exited: Promise<ProcessExit>;
  readonly #link: ProcessLink;
  readonly #stdin: Stdin;
  readonly #outputs: Record<OutputName, Output>;
  readonly #pending = new PendingOutput();
  readonly #started = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<ProcessExit>();
  #pid: number;
  #exit: ProcessExit | undefined;
  #handler: OutputHandler | undefined;
  #handlerBusy = false;
  #lost: LostOutput = { stdout: 0, stderr: 0 };
  // The guest is not to be told anything of this process any more.
  #over = false;
  #released = false;

  constructor(link: ProcessLink, origin: ProcessOrigin) {
    const { channel } = origin;
    this.channel = channel;
    this.#link = link;
    this.#pid = origin.pid;
    this.#stdin = new Stdin(channel, link.sender, origin.stdinReceived);
    if (!origin.stdin) this.#stdin.close(new SandboxError("invalid_state", "it was started without stdin"));
    this.#outputs = {
      stdout: new Output(channel, StreamId.stdout, link.sender, origin.stdoutStart),
      stderr: new Output(channel, StreamId.stderr, link.sender, origin.stderrStart),
    };
    this.exited = this.#exited.promise;
    // Nobody has to wait for either; a dropped connection must not look like a forgotten rejection.
    this.#exited.promise.catch(() => {});
    this.#started.promise.catch(() => {});
  }

  /** The process's number in the guest. */
  get pid(): number {
    return this.#pid;
  }

  /** What the guest dropped while no host was connected; of a process started on this connection nothing. */
  get lost(): LostOutput {
    return this.#lost;
  }

  /** Bytes of stdin that the process's pipe took. */
  get stdinAcked(): number {
    return this.#stdin.acked;
  }

  /** Sets who takes the output; what came before is given first. To be set once. */
  onOutput(handler: OutputHandler): void {
    if (this.#handler !== undefined)
      throw new SandboxError("invalid_state", "the output has a handler already");
    this.#handler = handler;
    this.#deliverPending();
  }

  /**
   * Everything of `stream` below `offset` is safe: the guest may forget it and send more. At most one window
   * (`windowBytes`, default 1 MiB) is under way or unacknowledged per stream. Going back does nothing.
   */
  ack(stream: OutputName, offset: number): void {
    if (!this.#over) this.#outputs[stream].acknowledge(offset);
  }

  /**
   * Sends bytes to stdin. They must not be changed afterwards.
   *
   * @returns when they were accepted into a queue of 256 KiB, which the process empties
   * @throws SandboxError `invalid_state` when it has no stdin, after `endStdin` and when the process has ended
   */
  write(chunk: Buffer): Promise<void> {
    const written = this.#stdin.write(chunk);
    // The rejection is for whoever waits; a writer that does not is told by `exited`.
    written.catch(() => {});
    return written;
  }

  /** Ends stdin behind what was written. Ending it again does nothing. */
  endStdin(): void {
    this.#stdin.end();
  }

  /**
   * Sends a signal, 1 … 64, to the process, its group or all its tree. Of a process that has ended only
   * the rest of its tree can be reached, until it is released.
   *
   * @throws SandboxError `resource_exhausted` when 4 MiB of messages wait for a guest that does not read
   */
  signal(signal: number, scope: SignalScope = "process"): void {
    const payload = encodeSignal(signal, scope);
    if (this.#live || (scope === "tree" && !this.#over)) this.#link.sender.control(this.channel, payload);
  }

  /** Tells a process with a terminal its new size. */
  resize(rows: number, cols: number): void {
    const payload = encodeResize(rows, cols);
    if (this.#live) this.#link.sender.control(this.channel, payload);
  }

  /**
   * Lets the guest forget the process. A process that still runs is killed, with its group. No output is given to
   * the handler any more. Doing it again does nothing.
   */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const connected = !this.#over;
    const reason = new SandboxError("cancelled", `process ${this.#pid} was released before it had ended`);
    this.end(reason);
    this.#exited.reject(reason);
    if (!connected) return;
    this.#link.forget(this.channel);
    this.#link.sender.control(this.channel, encodeClose(), true);
  }

  get #live(): boolean {
    return !this.#over && this.#exit === undefined;
  }

  // What follows is for the connection.

  /** @internal settles when the guest has started the process or says that it cannot */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** @internal grants the first window of each output, from these offsets on */
  open(from: LostOutput, windowBytes = DEFAULT_WINDOW_BYTES, lost: LostOutput = this.#lost): void {
    this.#outputs.stdout.open(from.stdout, windowBytes);
    this.#outputs.stderr.open(from.stderr, windowBytes);
    this.#lost = lost;
  }

  /** @internal takes a frame of this channel; throws a violation */
  receive(frame: Frame): void {
    if (frame.type === FrameType.control) this.#receiveControl(frame.payload);
    else if (frame.type === FrameType.credit) this.#receiveCredit(frame);
    else this.#receiveData(frame);
  }

  /** @internal the channel is gone. Output and exit that were received before still reach their readers. */
  end(reason: SandboxError): void {
    if (this.#over) return;
    this.#over = true;
    this.#stdin.close(reason);
    this.#link.sender.forget(this.#outputs.stdout);
    this.#link.sender.forget(this.#outputs.stderr);
    this.#started.reject(reason);
    if (this.#exit === undefined) this.#exited.reject(reason);
  }

  #receiveControl(payload: Buffer): void {
    const message = readProcessMessage(payload);
    if (message.op === "exit") {
      if (this.#pid === 0) throw violation("an exit before the process was started");
      if (this.#exit !== undefined) throw violation("a second exit message");
      if (!this.#outputs.stdout.ended || !this.#outputs.stderr.ended) {
        throw violation("an exit before the end of both outputs");
      }
      this.#exit = message.exit;
      this.#stdin.close(
        new SandboxError("invalid_state", `process ${this.#pid} has ended: stdin takes no more`),
      );
      this.#settleExit();
      return;
    }
    if (this.#pid !== 0) throw violation("a second answer to start");
    if (message.op === "started") {
      this.#pid = message.pid;
      this.#started.resolve();
      return;
    }
    this.#link.forget(this.channel);
    this.end(message.error);
  }

  #receiveCredit(frame: Frame): void {
    if (frame.stream !== StreamId.stdin) throw violation("a credit for an output");
    this.#stdin.grant(decodeCredit(frame.payload));
  }

  #receiveData(frame: Frame): void {
    if (frame.stream === StreamId.stdin) throw violation("data on stdin");
    if (this.#pid === 0) throw violation("output before the process was started");
    const stream = frame.stream === StreamId.stdout ? "stdout" : "stderr";
    const offset = this.#outputs[stream].receive(frame.payload);
    const chunk = { stream, offset, chunk: frame.payload } as const;
    if (this.#handler !== undefined && !this.#handlerBusy && this.#pending.empty) {
      this.#deliver(this.#handler, chunk);
    } else {
      this.#pending.add(chunk);
    }
  }

  #deliverPending(): void {
    while (this.#handler !== undefined && !this.#handlerBusy && !this.#released) {
      const next = this.#pending.take();
      if (next === undefined) break;
      this.#deliver(this.#handler, next);
    }
    this.#settleExit();
  }

  #deliver(handler: OutputHandler, { stream, offset, chunk }: OutputChunk): void {
    this.#handlerBusy = true;
    try {
      const done = handler(stream, offset, chunk);
      if (!(done instanceof Promise)) {
        this.#handlerBusy = false;
        return;
      }
      done.then(
        () => {
          this.#handlerBusy = false;
          this.#deliverPending();
        },
        (error: unknown) => this.#exited.reject(SandboxError.from(error)),
      );
    } catch (error) {
      // Stays busy: nothing more is delivered, nothing acknowledged, and the credit holds the guest back.
      this.#exited.reject(SandboxError.from(error));
    }
  }

  #settleExit(): void {
    if (this.#exit !== undefined && !this.#handlerBusy && this.#pending.empty)
      this.#exited.resolve(this.#exit);
  }
}
