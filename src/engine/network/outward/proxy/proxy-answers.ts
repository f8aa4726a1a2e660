import type { Socket } from "node:net";
import type { DialOptions } from "../dial.ts";

/**
 * Reads what a proxy says without taking more than that: what comes after it is the far side's. Bounds: a head of 8 KiB; the time of
 * the dial is for the whole exchange.
 */

const MAX_HEAD = 8192;

export class ProxyAnswers {
  readonly #socket: Socket;
  readonly #deadline: number;
  readonly #signal: AbortSignal;

  constructor(socket: Socket, options: DialOptions) {
    this.#socket = socket;
    this.#deadline = performance.now() + options.timeoutMs;
    this.#signal = options.signal;
    socket.on("error", this.#ignore);
  }

  /** The socket is the caller's again. */
  release(): void {
    this.#socket.removeListener("error", this.#ignore);
  }

  async bytes(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      // Never null while that much is there; a socket that ended gives what is left.
      const bytes = this.#socket.read(length) as Buffer | null;
      if (bytes?.length === length) return bytes;
      if (bytes !== null) throw refusedByProxy("the proxy hung up");
      await this.#more();
    }
  }

  async until(end: string): Promise<string> {
    let text = "";
    while (!text.endsWith(end)) {
      text += (await this.bytes(1)).toString("latin1");
      if (text.length > MAX_HEAD) throw refusedByProxy("the proxy says too much");
    }
    return text;
  }

  async #more(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = this.#socket;
    const over = () => reject(refusedByProxy("the proxy hung up"));
    const abort = () => reject(Object.assign(new Error("the guest gave up"), { code: "ECANCELED" }));
    const timer = setTimeout(
      () => reject(Object.assign(new Error("the proxy did not answer"), { code: "ETIMEDOUT" })),
      Math.max(0, this.#deadline - performance.now()),
    );
    socket.once("readable", resolve);
    socket.once("close", over);
    socket.once("end", over);
    this.#signal.addEventListener("abort", abort, { once: true });
    if (socket.destroyed) over();
    if (this.#signal.aborted) abort();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      socket.off("readable", resolve);
      socket.off("close", over);
      socket.off("end", over);
      this.#signal.removeEventListener("abort", abort);
    }
  }

  readonly #ignore = (): void => {};
}

/** Is "connection refused" to the guest. */
export const refusedByProxy = (message: string): Error =>
  Object.assign(new Error(message), { code: "ECONNREFUSED" });
