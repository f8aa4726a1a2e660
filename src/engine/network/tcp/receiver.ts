/**
 * The half of a connection that receives: bytes that nobody has read yet, and the window that the guest was told.
 *
 * What comes before its turn is kept if it is simple (`early-runs.ts`). SACK is not sent: a link that loses only when a queue runs
 * over does not pay for it. Timestamps are not used: they protect against sequence numbers that went around while a
 * segment was under way, and measure round trips; the first cannot happen in a queue that keeps order, the second is
 * done by timing one segment at a time.
 */
import { ByteQueue } from "./byte-queue.ts";
import { EarlyRuns } from "./early-runs.ts";
import type { Budget } from "./limits.ts";
import { distance, plus } from "./sequence.ts";

/** Of the windows that we tell, in bits; 512 KiB need 4, so a window is told to within 16 bytes. */
export const OUR_WINDOW_SCALE = 4;
const LARGEST_FIELD = 0xffff;

/** `filled`: at the end of a gap, which is told at once, so that the guest stops to send what followed it (RFC 5681 section 4.2). */
export type Taken = "new" | "fin" | "filled" | "old" | "gap" | "full";

export class Receiver {
  readonly queue: ByteQueue;
  readonly #budget: Budget;
  readonly #early: EarlyRuns;
  readonly #segmentSize: number;
  /** How far our windows are scaled: 0 if the guest does not scale its own. */
  scale = 0;
  /** The next byte that is missing. */
  next: number;
  /** No byte from here on was ever allowed. It never goes back. */
  #edge: number;
  /** As far as was acknowledged. */
  #acknowledged: number;
  /** What the last window that was told ends with. */
  #told: number;
  finished = false;

  /** `next` follows the guest's SYN; `segmentSize`: the most that a segment of the guest carries. */
  constructor(next: number, budget: Budget, segmentSize: number) {
    this.#segmentSize = segmentSize;
    this.queue = new ByteQueue(budget.received);
    this.#budget = budget;
    this.#early = new EarlyRuns(budget.received);
    this.next = next;
    this.#edge = next;
    this.#told = next;
    this.#acknowledged = next;
  }

  /** Bytes that were taken and not yet acknowledged. */
  get unacknowledged(): number {
    return distance(this.next, this.#acknowledged);
  }

  /** Whether a segment lies in the window (RFC 9293 section 3.4, table 5), or a part of it. */
  accepts(sequence: number, length: number): boolean {
    const start = distance(sequence, this.next);
    const window = distance(this.#edge, this.next);
    if (length === 0) return start >= 0 && start <= window;
    return start + length > 0 && start <= window;
  }

  /** Nobody reads any more. */
  clear(): void {
    this.queue.clear();
    this.#early.clear();
  }

  take(sequence: number, payload: Uint8Array, fin: boolean): Taken {
    const start = distance(this.next, sequence);
    if (start < 0) {
      this.#early.keep(sequence, payload.subarray(0, Math.max(0, distance(this.#edge, sequence))));
      return "gap";
    }
    if (this.finished || start >= payload.length + (fin ? 1 : 0)) return "old";
    const room = distance(this.#edge, this.next);
    const fresh = payload.subarray(start, start + room);
    if (fresh.length > 0 && this.#budget.received.exhausted) return "full";
    this.queue.append(fresh);
    this.next = plus(this.next, fresh.length);
    const filled = !this.#early.empty;
    if (filled) this.next = this.#early.release(this.queue, this.next);
    if (!fin || this.next !== plus(sequence, payload.length)) {
      if (filled) return "filled";
      return fresh.length === 0 ? "full" : "new";
    }
    this.#early.clear();
    this.next = plus(this.next, 1);
    this.finished = true;
    return "fin";
  }

  /** The window field of a segment that is sent now, and acknowledges all. */
  tell(): number {
    this.#acknowledged = this.next;
    const edge = this.#newEdge();
    if (distance(edge, this.#edge) > 0) this.#edge = edge;
    const window = Math.max(0, distance(this.#edge, this.next));
    const field = Math.min(LARGEST_FIELD, window >>> this.scale);
    this.#told = plus(this.next, field << this.scale);
    // What the field could not say was not promised.
    if (window >>> this.scale > LARGEST_FIELD) this.#edge = this.#told;
    return field;
  }

  /**
   * The window may be much larger than the guest knows, and it may be waiting for that. Not while it can send two segments: those are
   * acknowledged anyway, and that tells it; the first window is a small one, and most connections never fill it.
   */
  get worthTelling(): boolean {
    if (this.finished) return false;
    const told = distance(this.#told, this.next);
    const grown = distance(this.#newEdge(), this.#told);
    return (
      grown > 0 && grown >= this.#capacity / 4 && told <= Math.min(this.#capacity / 2, 2 * this.#segmentSize)
    );
  }

  get #capacity(): number {
    return Math.min(this.#budget.share, LARGEST_FIELD << this.scale);
  }

  /** Where the window may end. It opens in large steps, so that a guest does not send slivers (section 3.8.6.2.2). */
  #newEdge(): number {
    const free = this.#budget.received.exhausted ? 0 : Math.max(0, this.#capacity - this.queue.length);
    const edge = plus(this.next, free);
    const grown = distance(edge, this.#edge);
    const wasShut = distance(this.#edge, this.next) < this.#capacity / 4;
    if (wasShut && grown < this.#capacity / 4) return this.#edge;
    return edge;
  }
}
