/**
 * A connection as a stream: read what the guest sent, write towards it; `end()` sends the FIN and reading goes on
 * (half-close), `destroy()` before both ends are over sends a RST. `finish` is emitted when the guest has acknowledged
 * everything, so what a finished and ended connection leaves behind is at most a TIME-WAIT.
 *
 * Back-pressure: bytes stay in the endpoint's queue, where they shut the guest's window, until the reader has taken
 * the ones before; a write is called back when the endpoint has room. The stream itself holds one piece when reading.
 */
import { Duplex } from "node:stream";
import type { FlowAddress } from "../flow.ts";
import type { Endpoint } from "./endpoint.ts";
import { TcpError, type TcpErrorCode } from "./tcp-error.ts";

type Callback = (error?: Error | null) => void;

/** Bytes that wait in the stream once the endpoint is full. */
const WRITABLE_MARK = 16 * 1024;

export class TcpConnection extends Duplex {
  /** `source` is the guest for one that it opened, the client for one to a published port. */
  readonly flow: FlowAddress;
  readonly #endpoint: Endpoint;
  /** The stream has asked for more than there was. */
  #wanted = false;
  #endGiven = false;
  #written: Callback | undefined;
  #finished: Callback | undefined;

  /** Made by the layer only. */
  constructor(flow: FlowAddress, endpoint: Endpoint, opened: () => void = () => {}) {
    // A mark of one byte: the next piece is asked for when the last one was taken.
    super({ allowHalfOpen: true, readableHighWaterMark: 1, writableHighWaterMark: WRITABLE_MARK });
    this.flow = flow;
    this.#endpoint = endpoint;
    endpoint.user = {
      opened,
      readable: () => this.#give(),
      acknowledged: () => this.#writeOn(),
      writeEnded: () => this.#writeEnded(),
      closed: (code) => this.#closed(code),
    };
  }

  /** Ends it at once, without an error on this side; the guest sees a reset. */
  reset(): void {
    this.destroy();
  }

  override _read(): void {
    this.#wanted = true;
    this.#give();
    this.#endpoint.readingGoesOn();
  }

  /** The bytes are not copied if there are many of them: they must not be changed after, as with a socket. */
  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#endpoint.write(chunk);
    if (this.#endpoint.hasRoom) callback();
    else this.#written = callback;
  }

  override _final(callback: Callback): void {
    this.#finished = callback;
    this.#endpoint.end();
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#endpoint.leave();
    // Most connections are over before they are destroyed, and an error costs more than the rest of that.
    if (this.#written !== undefined || this.#finished !== undefined) {
      const gone = error ?? new TcpError("ECONNABORTED", this.flow);
      this.#written?.(gone);
      this.#finished?.(gone);
    }
    this.#written = this.#finished = undefined;
    callback(error);
  }

  /** Hands the reader what it wants, piece by piece, and the end after the last. */
  #give(): void {
    const received = this.#endpoint.received;
    if (received === undefined || this.#endGiven) return;
    while (this.#wanted && !this.destroyed) {
      const bytes = received.queue.take();
      if (bytes === undefined) break;
      this.#wanted = false;
      if (this.push(bytes)) this.#wanted = true;
    }
    if (!received.finished || received.queue.length > 0 || this.destroyed || this.#endGiven) return;
    this.#endGiven = true;
    this.push(null);
  }

  #writeOn(): void {
    if (this.#written === undefined || !this.#endpoint.hasRoom) return;
    const callback = this.#written;
    this.#written = undefined;
    callback();
  }

  #writeEnded(): void {
    const callback = this.#finished;
    this.#finished = undefined;
    callback?.();
  }

  #closed(code: TcpErrorCode | undefined): void {
    if (code !== undefined) this.destroy(new TcpError(code, this.flow));
  }
}
