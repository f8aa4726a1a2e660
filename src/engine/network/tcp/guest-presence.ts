/**
 * Whether the guest is there at all. One that is paused answers nothing and knows nothing of it, so the silence of its connections
 * says nothing about them. It counts only while the link has been heard: from the first segment after a gap on, and not in a gap.
 * What a guest that is gone for good has left ends with its link.
 */
export class GuestPresence {
  readonly #absentMs: number;
  #heardAt: number;
  #backAt: number;

  /** @param absentMs so long without a segment of any connection, while answers are due, and the guest is taken to be away */
  constructor(absentMs: number, now: number) {
    this.#absentMs = absentMs;
    this.#heardAt = this.#backAt = now;
  }

  /** A segment came, of whatever connection. */
  heard(now: number): void {
    if (now - this.#heardAt >= this.#absentMs) this.#backAt = now;
    this.#heardAt = now;
  }

  /** How long somebody who was last heard at `since` has been silent while the guest was there, in milliseconds. */
  silence(since: number, now: number): number {
    if (now - this.#heardAt >= this.#absentMs) return 0;
    return now - Math.max(since, this.#backAt);
  }
}
