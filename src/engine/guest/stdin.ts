import { SandboxError } from "../../contract/errors.ts";
import { type Credit, StreamId } from "./frame.ts";
import type { DataSource, Sender } from "./sender.ts";
import { violation } from "./violation.ts";

/** Bytes of one process's stdin that wait on the host for the guest's credit before `write` makes its caller wait. */
export const STDIN_QUEUE_BYTES = 256 * 1024;

/**
 * The host's end of a process's stdin: a bounded queue that the guest's credit empties. Source:
 * spec/agent-protocol.md, "Data and credit".
 */
export class Stdin implements DataSource {
  readonly stream = StreamId.stdin;
  readonly channel: number;
  readonly #sender: Sender;
  #chunks: Buffer[] = [];
  // What of the first chunk was sent.
  #chunkStart = 0;
  #queued = 0;
  #waiting: { resolve: () => void; reject: (error: SandboxError) => void }[] = [];
  #sent: number;
  #credit: Credit;
  #state: "open" | "ending" | "ended" = "open";
  #closed: SandboxError | undefined;

  /** @param sent the offset to start at: 0, or what the guest says it has received */
  constructor(channel: number, sender: Sender, sent: number) {
    this.channel = channel;
    this.#sender = sender;
    this.#sent = sent;
    // No credit until the guest grants some; the first grant may acknowledge as much as was ever received.
    this.#credit = { acked: 0, limit: 0 };
  }

  /** Bytes that the process's pipe took. */
  get acked(): number {
    return this.#credit.acked;
  }

  /**
   * Queues a chunk, which must not be changed afterwards.
   *
   * @returns when the queue is below its bound again
   */
  write(chunk: Buffer): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#state !== "open")
      return Promise.reject(new SandboxError("invalid_state", "stdin was ended before"));
    if (chunk.length === 0) return Promise.resolve();
    this.#chunks.push(chunk);
    this.#queued += chunk.length;
    this.#sender.data(this);
    if (this.#queued <= STDIN_QUEUE_BYTES) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ resolve, reject });
    return promise;
  }

  /** Ends the stream behind what is queued. Ending it again does nothing. */
  end(): void {
    if (this.#state !== "open" || this.#closed !== undefined) return;
    this.#state = "ending";
    this.#sender.data(this);
  }

  /** Takes nothing any more; what waits rejects with `error`. */
  close(error: SandboxError): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    this.#sender.forget(this);
    this.#chunks = [];
    this.#queued = 0;
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error);
  }

  grant(credit: Credit | undefined): void {
    const { acked, limit } = this.#credit;
    if (credit === undefined) throw violation("a credit whose offsets contradict each other");
    if (credit.acked < acked || credit.limit < limit) throw violation("a credit for stdin went back");
    if (credit.acked > this.#sent) throw violation("it acknowledged stdin that was not sent");
    this.#credit = credit;
    if (this.#closed === undefined) this.#sender.data(this);
  }

  take(max: number): Buffer | undefined {
    const chunk = this.#chunks[0];
    if (chunk === undefined) {
      if (this.#state !== "ending") return undefined;
      this.#state = "ended";
      return Buffer.alloc(0);
    }
    const length = Math.min(max, this.#credit.limit - this.#sent, chunk.length - this.#chunkStart);
    if (length <= 0) return undefined;
    const payload = chunk.subarray(this.#chunkStart, this.#chunkStart + length);
    this.#sent += length;
    this.#queued -= length;
    this.#chunkStart += length;
    if (this.#chunkStart === chunk.length) {
      this.#chunks.shift();
      this.#chunkStart = 0;
    }
    if (this.#queued <= STDIN_QUEUE_BYTES) for (const waiter of this.#waiting.splice(0)) waiter.resolve();
    return payload;
  }
}
