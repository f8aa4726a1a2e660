/** How long to wait for an acknowledgment before sending again (RFC 6298). */

const FIRST_MS = 1000;
/** A guest under emulation may be held up this long with nothing lost. */
const SHORTEST_MS = 300;
const LONGEST_MS = 30_000;

export class RoundTrip {
  #smoothed: number | undefined;
  #variation = 0;
  #waitMs = FIRST_MS;
  #sample: { sequence: number; sentAt: number } | undefined;

  get waitMs(): number {
    return this.#waitMs;
  }

  /** The sequence number that the segment being timed ends with; undefined when none is. */
  get timed(): number | undefined {
    return this.#sample?.sequence;
  }

  /** One segment at a time is timed, and only one that was sent for the first time. */
  start(sequence: number, now: number): void {
    this.#sample = { sequence, sentAt: now };
  }

  finish(now: number): void {
    if (this.#sample === undefined) return;
    const took = now - this.#sample.sentAt;
    this.#sample = undefined;
    if (this.#smoothed === undefined) {
      this.#smoothed = took;
      this.#variation = took / 2;
    } else {
      this.#variation = 0.75 * this.#variation + 0.25 * Math.abs(this.#smoothed - took);
      this.#smoothed = 0.875 * this.#smoothed + 0.125 * took;
    }
    this.progress();
  }

  /** Something new was acknowledged: an earlier back-off is over. */
  progress(): void {
    const estimate = this.#smoothed === undefined ? FIRST_MS : this.#smoothed + 4 * this.#variation;
    this.#waitMs = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, estimate));
  }

  /** Nothing came in time. What is timed may be sent twice now, so its answer would tell nothing (Karn). */
  backOff(): void {
    this.#waitMs = Math.min(LONGEST_MS, 2 * this.#waitMs);
    this.#sample = undefined;
  }
}
