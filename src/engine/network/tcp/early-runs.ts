/**
 * What came before its turn, since something ahead of it was lost. Kept as runs of bytes without a gap; each of them lies in the
 * window, so it takes no memory that was not promised. Without this a kernel that lost one segment of a full window has to send
 * all that followed again, and its timer doubles each time a queue on the way runs over anew: a bulk transfer
 * over a TUN interface of 500 packets, MTU 576, stood still for seconds at a time.
 *
 * Bounds: RUNS runs. What overlaps a run is not taken, so no byte ever has two versions; its sender sends it again.
 */
import { ByteQueue } from "./byte-queue.ts";
import type { Meter } from "./limits.ts";
import { distance, plus } from "./sequence.ts";

const RUNS = 16;

interface Run {
  start: number;
  bytes: ByteQueue;
}

export class EarlyRuns {
  readonly #meter: Meter;
  /** In order, and apart from each other or touching. */
  #runs: Run[] = [];

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  get empty(): boolean {
    return this.#runs.length === 0;
  }

  /** Keeps a segment that lies in the window, or not. */
  keep(sequence: number, payload: Uint8Array): void {
    if (payload.length === 0 || this.#meter.exhausted) return;
    const at = this.#runs.findLastIndex(({ start }) => distance(sequence, start) >= 0);
    const before = this.#runs[at];
    const after = this.#runs[at + 1];
    if (after !== undefined && distance(plus(sequence, payload.length), after.start) > 0) return;
    const gap = before === undefined ? 1 : distance(sequence, plus(before.start, before.bytes.length));
    if (gap < 0) return;
    if (gap === 0) {
      before!.bytes.append(payload);
      return;
    }
    if (this.#runs.length === RUNS) return;
    const bytes = new ByteQueue(this.#meter);
    bytes.append(payload);
    this.#runs.splice(at + 1, 0, { start: sequence, bytes });
  }

  /** Moves what is in its turn now behind `queue`, which ends before `next`; how far `next` is then. */
  release(queue: ByteQueue, next: number): number {
    for (;;) {
      const run = this.#runs[0];
      if (run === undefined || distance(run.start, next) > 0) return next;
      this.#runs.shift();
      run.bytes.discard(Math.min(run.bytes.length, distance(next, run.start)));
      for (let piece = run.bytes.take(); piece !== undefined; piece = run.bytes.take()) {
        queue.append(piece);
        next = plus(next, piece.length);
      }
    }
  }

  clear(): void {
    for (const { bytes } of this.#runs) bytes.clear();
    this.#runs = [];
  }
}
