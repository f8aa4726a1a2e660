/**
 * One sandbox's wire: Ethernet frames both ways over a stream to its VMM.
 *
 * It reads on, always: QEMU's writes block, and with them the guest. What is to be sent is gathered while a write is under way and
 * handed over in one; so frames come in batches exactly when the other end is slow. Bounds: `FULL` bytes wait before
 * senders are told to stop, and frames beyond `HARD_LIMIT` are dropped and counted, since not all senders can wait.
 */
import type { Duplex } from "node:stream";
import { FrameBatch } from "./frame-batch.ts";
import { FrameReader } from "./frame-reader.ts";

const FULL = 512 * 1024;
const ROOM_AGAIN = 128 * 1024;
const HARD_LIMIT = 4 * 1024 * 1024;

export interface FrameLinkHandlers {
  /** A frame of the guest. It lies in a larger buffer; nobody writes to that again. */
  onFrame(frame: Uint8Array): void;
  /** After `send` gave false: there is room again. */
  onDrain(): void;
  /** Once: the stream is over, or (with `error`) unusable. */
  onClose(error?: Error): void;
}

/** Sees every frame that is received or sent. */
export interface FrameTap {
  frame(parts: readonly Uint8Array[]): void;
}

export class FrameLink implements Disposable {
  /** Frames that were sent by nobody, since too much waited. */
  dropped = 0;
  /** For captures. */
  tap: FrameTap | undefined;
  readonly #stream: Duplex;
  readonly #handlers: FrameLinkHandlers;
  #batch = new FrameBatch();
  /** Bytes of the write that is under way. */
  #writing = 0;
  #scheduled = false;
  #full = false;
  #closed = false;

  /** The stream is the link's from now on. `maxFrameBytes`: the MTU and an Ethernet header. */
  constructor(stream: Duplex, maxFrameBytes: number, handlers: FrameLinkHandlers) {
    this.#stream = stream;
    this.#handlers = handlers;
    const reader = new FrameReader(maxFrameBytes, (frame) => {
      if (this.#closed) return;
      this.tap?.frame([frame]);
      handlers.onFrame(frame);
    });
    stream.on("data", (chunk: Uint8Array) => {
      try {
        reader.push(chunk);
      } catch (error) {
        this.#close(error as Error);
      }
    });
    stream.on("error", (error) => this.#close(error));
    stream.on("end", () => this.#close());
    stream.on("close", () => this.#close());
  }

  /** Bytes that wait to be taken by the other end. */
  get waiting(): number {
    return this.#batch.bytes + this.#writing;
  }

  /** The parts of one frame. False: it is taken (or dropped, beyond the hard limit), and `onDrain` will tell when to go on. */
  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closed || this.waiting > HARD_LIMIT) {
      this.dropped++;
      return !this.#full;
    }
    this.tap?.frame(parts);
    this.#batch.add(parts);
    if (!this.#scheduled && this.#writing === 0) {
      this.#scheduled = true;
      // After what has been read is worked off: the answers to one chunk are one write.
      process.nextTick(() => this.#flush());
    }
    if (this.waiting >= FULL) this.#full = true;
    return !this.#full;
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#closed || this.#batch.bytes === 0) return;
    this.#writing = this.#batch.bytes;
    const chunks = this.#batch.take();
    const last = chunks.pop()!;
    this.#stream.cork();
    for (const chunk of chunks) this.#stream.write(chunk);
    this.#stream.write(last, () => {
      this.#writing = 0;
      this.#flush();
      if (!this.#full || this.#closed || this.waiting > ROOM_AGAIN) return;
      this.#full = false;
      this.#handlers.onDrain();
    });
    this.#stream.uncork();
  }

  #close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#batch = new FrameBatch();
    this.#stream.destroy();
    this.#handlers.onClose(error);
  }
}
