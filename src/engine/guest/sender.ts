import type { Duplex } from "node:stream";
import { SandboxError } from "../../contract/errors.ts";
import {
  type Credit,
  DATA_FRAME_BYTES,
  encodeCredit,
  encodeFrame,
  FrameType,
  type StreamId,
} from "./frame.ts";

/** A queue of one channel and stream that has data to send, or the end of it. */
export interface DataSource {
  readonly channel: number;
  readonly stream: StreamId;
  /** The next frame's payload, at most `max` bytes, empty for the end; undefined when there is none now. */
  take(max: number): Buffer | undefined;
}

/** A stream that grants credit; asked only when the frame is about to leave, so that the newest offsets go. */
export interface CreditSource {
  readonly channel: number;
  readonly stream: StreamId;
  takeCredit(): Credit;
}

// Bytes handed to the socket before waiting for it: what stands there can no longer be overtaken by control.
const IN_FLIGHT_BYTES = 256 * 1024;
/** Control that may wait for a guest that does not read. */
const MAX_CONTROL_BYTES = 4 * 1024 * 1024;

/**
 * The one writer of a connection. Control goes first, then credit, then data: one frame of each source in turn
 * (spec/agent-protocol.md, "Data and credit"). All that is queued in one turn of the event loop leaves in one write.
 */
export class Sender {
  readonly #stream: Duplex;
  #control: Buffer[] = [];
  #controlBytes = 0;
  readonly #credits = new Set<CreditSource>();
  readonly #data = new Set<DataSource>();
  #scheduled = false;
  #blocked = false;
  #stopped = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on("drain", () => {
      this.#blocked = false;
      this.#flush();
    });
  }

  /** Queues bytes that are no frame: the sync sequence, before anything else. */
  raw(bytes: Buffer): void {
    this.#push([bytes]);
  }

  /**
   * @param urgent queued whatever waits; for what a caller sends at most once per process
   * @throws SandboxError `resource_exhausted` when 4 MiB of control wait for a guest that does not read
   */
  control(channel: number, payload: Buffer, urgent = false): void {
    if (!urgent && this.#controlBytes + payload.length > MAX_CONTROL_BYTES) {
      throw new SandboxError(
        "resource_exhausted",
        "the guest agent does not read what it is told: its queue is full",
      );
    }
    this.#push(encodeFrame({ channel, type: FrameType.control, stream: 0, payload }));
  }

  credit(source: CreditSource): void {
    this.#credits.add(source);
    this.#schedule();
  }

  /** `source` has something to take. Calling it twice is no harm. */
  data(source: DataSource): void {
    this.#data.add(source);
    this.#schedule();
  }

  /** Drops what a source still has queued. */
  forget(source: CreditSource | DataSource): void {
    this.#credits.delete(source as CreditSource);
    this.#data.delete(source as DataSource);
  }

  /** Sends nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#control = [];
    this.#credits.clear();
    this.#data.clear();
  }

  #push(buffers: Buffer[]): void {
    for (const buffer of buffers) {
      this.#control.push(buffer);
      this.#controlBytes += buffer.length;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#blocked || this.#stopped) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#stopped || this.#blocked) return;
    const stream = this.#stream;
    stream.cork();
    for (const buffer of this.#control) stream.write(buffer);
    this.#control = [];
    this.#controlBytes = 0;
    for (const source of this.#credits) {
      const { channel, stream: id } = source;
      this.#write({
        channel,
        type: FrameType.credit,
        stream: id,
        payload: encodeCredit(source.takeCredit()),
      });
    }
    this.#credits.clear();
    // A set iterates in order of insertion and visits what is added meanwhile: taking a source out and putting it
    // back in is a round robin.
    for (const source of this.#data) {
      if (stream.writableLength >= IN_FLIGHT_BYTES) break;
      this.#data.delete(source);
      const payload = source.take(DATA_FRAME_BYTES);
      if (payload === undefined) continue;
      this.#write({ channel: source.channel, type: FrameType.data, stream: source.stream, payload });
      this.#data.add(source);
    }
    stream.uncork();
    // The socket took what it could when it was uncorked. Far above its own mark it surely says "drain" later.
    this.#blocked = stream.writableLength >= IN_FLIGHT_BYTES;
    if (this.#data.size > 0) this.#schedule();
  }

  #write(frame: Parameters<typeof encodeFrame>[0]): void {
    for (const buffer of encodeFrame(frame)) this.#stream.write(buffer);
  }
}
