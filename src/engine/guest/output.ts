import { SandboxError } from "../../contract/errors.ts";
import { type Credit, MAX_CREDIT, type StreamId } from "./frame.ts";
import type { CreditSource, Sender } from "./sender.ts";
import { violation } from "./violation.ts";

/** Bytes of one output that may be under way or unacknowledged at a time, unless told otherwise. */
export const DEFAULT_WINDOW_BYTES = 1024 * 1024;

/**
 * The host's end of a process's stdout or stderr: counts offsets, holds the guest to its credit and grants more
 * as the owner acknowledges. It keeps no bytes. Source: spec/agent-protocol.md, "Data and credit".
 */
export class Output implements CreditSource {
  readonly channel: number;
  readonly stream: StreamId;
  readonly #sender: Sender;
  #window = 0;
  #received: number;
  #acked = 0;
  #granted = 0;
  #ended = false;

  /** @param start the first offset that the guest can send: 0, or what it says it still holds */
  constructor(channel: number, stream: StreamId, sender: Sender, start: number) {
    this.#received = start;
    this.channel = channel;
    this.stream = stream;
    this.#sender = sender;
  }

  /** The end of stream was received. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Grants the first window, from offset `from` on. Before, the guest may send nothing but the stream's end. */
  open(from: number, window: number): void {
    if (!Number.isSafeInteger(window) || window < 1 || window > MAX_CREDIT) {
      throw new SandboxError("invalid_argument", `a window has 1 to ${MAX_CREDIT} bytes, not ${window}`);
    }
    this.#window = window;
    this.#received = from;
    this.#acked = from;
    this.#granted = from + window;
    this.#sender.credit(this);
  }

  /**
   * Takes a data frame's payload, the empty one as the end.
   *
   * @returns the offset of its first byte
   */
  receive(payload: Buffer): number {
    if (this.#ended) throw violation("data behind the end of its stream");
    const offset = this.#received;
    if (payload.length === 0) {
      this.#ended = true;
    } else if (offset + payload.length > this.#granted) {
      throw violation(`data beyond its credit, which ends at ${this.#granted}`);
    }
    this.#received += payload.length;
    return offset;
  }

  /**
   * Everything below `offset` may be forgotten by the guest. Grants more in steps of a quarter window: a credit
   * per chunk would cost the guest more than the chunk.
   */
  acknowledge(offset: number): void {
    if (!Number.isSafeInteger(offset) || offset > this.#received) {
      throw new SandboxError("invalid_argument", `only ${this.#received} bytes were received, not ${offset}`);
    }
    if (offset <= this.#acked) return;
    this.#acked = offset;
    if (this.#acked + this.#window - this.#granted >= this.#window / 4) this.#sender.credit(this);
  }

  takeCredit(): Credit {
    this.#granted = this.#acked + this.#window;
    return { acked: this.#acked, limit: this.#granted };
  }
}
