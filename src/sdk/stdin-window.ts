import { MAX_STREAM_FRAME, STDIN_WINDOW } from "../contract/frames.ts";
import type { ProcessSocket } from "./process-socket.ts";

/** Most bytes of one frame: small enough that a signal never waits long behind one. */
const FRAME_BYTES = Math.min(64 * 1024, MAX_STREAM_FRAME - 1);

/**
 * Sends stdin no faster than the process reads it: at most a window ahead, which the daemon moves on. That, and not a paused socket,
 * is the back-pressure, so a signal gets through to a process that does not read.
 */
export class StdinWindow {
  readonly #socket: Promise<ProcessSocket>;
  #left = STDIN_WINDOW;
  #wake: (() => void) | undefined;
  #closed = false;
  #ended = false;
  #last: Promise<void> = Promise.resolve();

  constructor(socket: Promise<ProcessSocket>) {
    this.#socket = socket;
    socket.catch(() => this.close());
  }

  /** Resolves when the bytes are on their way; slow while the process does not read. After its end bytes go nowhere. */
  write(data: string | Uint8Array): Promise<void> {
    if (this.#ended) return Promise.reject(new TypeError("stdin was ended; nothing can be written after it"));
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    this.#last = this.#last.then(() => this.#send(bytes));
    return this.#last;
  }

  /** End of file, behind everything that was written. */
  end(): Promise<void> {
    if (this.#ended) return this.#last;
    this.#ended = true;
    this.#last = this.#last.then(async () => {
      if (!this.#closed) (await this.#socket).say({ type: "stdin_end" });
    });
    this.#last.catch(() => {});
    return this.#last;
  }

  /** The daemon lets more through. */
  grant(bytes: number): void {
    this.#left += bytes;
    this.#wake?.();
  }

  /** Nobody reads any more: writers are let go. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async #send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#closed; ) {
      if (this.#left === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
        continue;
      }
      const take = Math.min(this.#left, FRAME_BYTES, bytes.length - at);
      this.#left -= take;
      try {
        await (await this.#socket).sendStdin(bytes.subarray(at, at + take));
      } catch {
        return; // the connection failed: `exit` and the iteration say why
      }
      at += take;
    }
  }
}
