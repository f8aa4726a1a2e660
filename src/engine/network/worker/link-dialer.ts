import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Keeps a connection to a machine's network socket: tries until the VMM has made it, and again when it breaks, as long as nobody
 * closes this. Waits between tries double from 2 to 500 ms.
 */

const FIRST_WAIT_MS = 2;
const LONGEST_WAIT_MS = 500;

export class LinkDialer implements Disposable {
  readonly #path: string;
  readonly #use: (socket: Socket) => void;
  readonly #closed = new AbortController();
  #socket: Socket | undefined;

  /** `use` is given each connection; when it is closed, by whichever side, the next one is tried. */
  constructor(path: string, use: (socket: Socket) => void) {
    this.#path = path;
    this.#use = use;
    void this.#run();
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
    this.#socket?.destroy();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    let waitMs = FIRST_WAIT_MS;
    while (!signal.aborted) {
      if (await this.#once()) waitMs = FIRST_WAIT_MS;
      if (signal.aborted) return;
      await sleep(waitMs, undefined, { signal }).catch(() => {});
      waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
    }
  }

  /** One connection, to its end. False if there was none. */
  #once(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const socket = connect(this.#path);
    this.#socket = socket;
    let connected = false;
    socket.once("connect", () => {
      connected = true;
      this.#use(socket);
    });
    socket.on("error", () => {});
    socket.once("close", () => resolve(connected));
    return promise;
  }
}
