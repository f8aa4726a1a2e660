/**
 * The half of a connection that sends: what is written and not yet acknowledged, how far it was sent, and what may be sent next
 * (RFC 9293 section 3.4 and 3.8).
 *
 * There is no congestion control. The link is a queue inside one machine that says when it is full; the guest's
 * window is the only other limit. What is lost all the same (a queue of the guest ran over) is found by three
 * duplicate acknowledgments, or by the timer, after which everything from the first missing byte on is sent again.
 * Nagle's algorithm is off: what is written goes out.
 */
import { ByteQueue } from "./byte-queue.ts";
import type { Budget } from "./limits.ts";
import { RoundTrip } from "./round-trip.ts";
import { distance, plus } from "./sequence.ts";

const DUPLICATES = 3;

/** What to put into a segment. */
export interface Outgoing {
  sequence: number;
  payload: Uint8Array;
  fin: boolean;
  /** Nothing is left behind it. */
  last: boolean;
}

const NOTHING = new Uint8Array(0);

export class Sender {
  readonly queue: ByteQueue;
  readonly roundTrip = new RoundTrip();
  /** Bytes of payload per segment. */
  segmentSize: number;
  /** The guest's window, in bytes, and the largest that it ever had. */
  window = 0;
  #largestWindow = 0;
  /** The first byte not acknowledged, the next to send, and the first never sent. */
  #unacknowledged: number;
  #next: number;
  #unsent: number;
  /** Behind the SYN. */
  readonly #first: number;
  #finQueued = false;
  /** Which segment told the window last, so that an older one does not (section 3.10.7.4). */
  #windowSequence = 0;
  #windowAcknowledgment = 0;
  #duplicates = 0;
  /** Loss was found; until this is acknowledged, each step forward shows the next hole. */
  #recoverTo: number | undefined;

  /** `initial` is the sequence number of the SYN, which counts as sent. */
  constructor(initial: number, segmentSize: number, budget: Budget) {
    this.queue = new ByteQueue(budget.written);
    this.segmentSize = segmentSize;
    this.#unacknowledged = initial;
    this.#first = this.#next = this.#unsent = plus(initial, 1);
  }

  /** The first sequence number never sent. */
  get unsent(): number {
    return this.#unsent;
  }

  /** Something was written. */
  get begun(): boolean {
    return this.#unsent !== this.#first || this.queue.length > 0;
  }

  get unacknowledged(): number {
    return this.#unacknowledged;
  }

  /** Something was sent that the guest has not acknowledged. */
  get outstanding(): boolean {
    return this.#unsent !== this.#unacknowledged;
  }

  /** Something was not sent, or is to be sent again. */
  get waiting(): boolean {
    return distance(this.#end, this.#next) > 0;
  }

  get finQueued(): boolean {
    return this.#finQueued;
  }

  /** After this nothing is appended to the queue. */
  queueFin(): void {
    this.#finQueued = true;
  }

  /** Our SYN was acknowledged: bytes follow it. */
  opened(): void {
    this.#unacknowledged = plus(this.#unacknowledged, 1);
  }

  /** Whether `acknowledgment` is of something that was sent. */
  covers(acknowledgment: number): boolean {
    return distance(this.#unsent, acknowledgment) >= 0;
  }

  /** What `acknowledgment`, which is covered, tells. `resend`: a hole was found, see `resend()`. */
  acknowledge(acknowledgment: number, now: number): { progress: boolean; fin: boolean; resend: boolean } {
    let count = distance(acknowledgment, this.#unacknowledged);
    if (count <= 0) return { progress: false, fin: false, resend: false };
    const fin = count > this.queue.length;
    if (fin) count = this.queue.length;
    this.queue.discard(count);
    this.#unacknowledged = acknowledgment;
    if (distance(this.#next, acknowledgment) < 0) this.#next = acknowledgment;
    this.#duplicates = 0;
    const { timed } = this.roundTrip;
    if (timed !== undefined && distance(acknowledgment, timed) >= 0) this.roundTrip.finish(now);
    else this.roundTrip.progress();
    if (this.#recoverTo !== undefined && distance(acknowledgment, this.#recoverTo) >= 0)
      this.#recoverTo = undefined;
    return { progress: true, fin, resend: this.#recoverTo !== undefined };
  }

  /** A segment without payload acknowledged nothing new and moved no window. True: the third, a segment is missing there. */
  duplicate(): boolean {
    if (!this.outstanding) return false;
    this.#duplicates++;
    if (this.#duplicates !== DUPLICATES || this.#recoverTo !== undefined) return false;
    this.#recoverTo = this.#unsent;
    return true;
  }

  /** The window of a segment, scaled. True if it differs from the last one. */
  setWindow(window: number, sequence: number, acknowledgment: number): boolean {
    const newer = distance(sequence, this.#windowSequence);
    if (newer < 0 || (newer === 0 && distance(acknowledgment, this.#windowAcknowledgment) < 0)) return false;
    return this.startWindow(window, sequence, acknowledgment);
  }

  /** The first one, of the handshake. */
  startWindow(window: number, sequence: number, acknowledgment: number): boolean {
    this.#windowSequence = sequence;
    this.#windowAcknowledgment = acknowledgment;
    const changed = window !== this.window;
    this.window = window;
    this.#largestWindow = Math.max(this.#largestWindow, window);
    return changed;
  }

  /** What to send now; it counts as sent. `forced`: also a small part of what is there, since nothing else moves. */
  take(now: number, forced: boolean): Outgoing | undefined {
    const left = distance(this.#end, this.#next);
    if (left <= 0) return undefined;
    const bytes = this.#finQueued ? left - 1 : left;
    const usable = distance(plus(this.#unacknowledged, this.window), this.#next);
    const length = this.#fitting(bytes, usable, forced);
    // A FIN needs no buffer, so it does not wait for a window that is shut, only for what is under way.
    const finFits = usable > length || this.#next === this.#unacknowledged;
    const fin = this.#finQueued && length === bytes && finFits;
    if (length === 0 && !fin) return undefined;
    const outgoing = this.#outgoing(this.#next, length, fin);
    const first = this.#next === this.#unsent;
    this.#next = plus(this.#next, length + (fin ? 1 : 0));
    if (distance(this.#next, this.#unsent) > 0) this.#unsent = this.#next;
    if (first && this.roundTrip.timed === undefined) this.roundTrip.start(this.#next, now);
    return outgoing;
  }

  /** The first segment that is missing, once more; `next` stays. */
  resend(): Outgoing | undefined {
    const bytes = Math.min(this.queue.length, distance(this.#next, this.#unacknowledged));
    const length = Math.min(bytes, this.segmentSize);
    const fin = this.#finQueued && length === this.queue.length && !this.waiting;
    if (length === 0 && !fin) return undefined;
    return this.#outgoing(this.#unacknowledged, length, fin);
  }

  /** Nothing was acknowledged in time: everything is sent again from the first missing byte on. */
  rewind(): void {
    this.roundTrip.backOff();
    this.#next = this.#unacknowledged;
    this.#duplicates = 0;
    this.#recoverTo = undefined;
  }

  /** Behind the last byte, or behind the FIN. */
  get #end(): number {
    return plus(this.#unacknowledged, this.queue.length + (this.#finQueued ? 1 : 0));
  }

  /** How many of `bytes` go into the next segment. A sliver of the window is not worth one (section 3.8.6.2.1). */
  #fitting(bytes: number, usable: number, forced: boolean): number {
    const length = Math.max(0, Math.min(bytes, usable, this.segmentSize));
    if (length === bytes || length === this.segmentSize || forced) return length;
    return length >= this.#largestWindow / 2 ? length : 0;
  }

  #outgoing(sequence: number, length: number, fin: boolean): Outgoing {
    const offset = distance(sequence, this.#unacknowledged);
    const payload = length === 0 ? NOTHING : this.queue.peek(offset, length);
    return { sequence, payload, fin, last: offset + length === this.queue.length };
  }
}
